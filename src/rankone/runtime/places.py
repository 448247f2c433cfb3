"""Functions that hold the places they write to for as long as they run: a second run there is refused at its start."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from rankone.core.claims import claim
from rankone.runtime.distributed import current

P = ParamSpec("P")
R = TypeVar("R")


def holds(*places: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function whose arguments of these names (paths; None is passed over) are claimed while it runs (core/claims.py).

    Of several processes the first one claims for all.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def holding(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs).arguments
            paths = [Path(given[name]) for name in places if given.get(name) is not None]
            with ExitStack() as held:

                def take() -> None:
                    for path in paths:
                        held.enter_context(claim(path))

                current().on_first(take)
                return function(*args, **kwargs)

        return holding

    return decorate
