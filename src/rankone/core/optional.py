"""Packages that RankOne uses where they are there: each belongs to an extra, and its absence is said with the mend."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from rankone.core.errors import RankOneError


def optional(module: str, extra: str, what_for: str) -> ModuleType:
    """The module; RankOneError where it cannot be imported.

    extra: of this package, the one that brings it. what_for: the subject of the message, as "labels by a language model".
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise RankOneError(
            f"{what_for}: the package '{module.partition('.')[0]}' is needed and cannot be imported ({error}). "
            f"Install it: pip install 'rankone[{extra}]'."
        ) from error
