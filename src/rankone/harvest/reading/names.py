"""What names stand for: a part, `SITE:NUMBER`, for itself; a component, `cNUMBER`, for its members; `A+B` for both."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from rankone.core.errors import RankOneError

COMPONENT = re.compile(r"c\d+")


@runtime_checkable
class Clustering(Protocol):
    """Whatever knows the members of components: `Components`, or a harvest of components."""

    def members(self, name: str) -> list[str]:
        """The subcomponents of a component; RankOneError, offering others, for an unknown name."""
        ...


def expand(
    names: Sequence[str], clustering: Clustering | None, known: Callable[[str], object]
) -> dict[str, list[str]]:
    """Each name with the parts that it stands for, in the given order.

    known: raises RankOneError, offering others, for a subcomponent that does not exist (as `Decomposition.locate`). Raises
    RankOneError for a name given twice, an unknown one, and a component's name without a clustering.
    """
    expanded: dict[str, list[str]] = {}
    for name in names:
        if name in expanded:
            raise RankOneError(f"'{name}' is given twice.")
        if clustering is not None and ":" not in name:
            expanded[name] = clustering.members(name)
        elif COMPONENT.fullmatch(name):
            raise RankOneError(of_clustering(name))
        else:
            expanded[name] = name.split("+")
            for part in expanded[name]:
                known(part)
    return expanded


def of_clustering(name: str) -> str:
    """What to say of a component's name where no clustering is open."""
    return f"'{name}' names a component: say of which clustering, with --clusters DIR."
