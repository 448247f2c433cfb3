"""What names stand for: a part, `SITE:NUMBER`, for itself; a component, `cNUMBER`, for its members; `A+B` for both;
`label:WORDS` for every part whose label has these words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from rankone.core.errors import RankOneError

COMPONENT = re.compile(r"c\d+")
QUERY = "label:"


@runtime_checkable
class Clustering(Protocol):
    """Whatever knows the members of components: `Components`, or a harvest of components."""

    def members(self, name: str) -> list[str]:
        """The subcomponents of a component; RankOneError, offering others, for an unknown name."""
        ...


def expand(
    names: Sequence[str],
    clustering: Clustering | None,
    known: Callable[[str], object],
    labelled: Callable[[str], list[str]] | None = None,
) -> dict[str, list[str]]:
    """Each name with the parts that it stands for, in the given order.

    labelled: what has some words in its label, parts or components. known: raises RankOneError, offering others, for a
    subcomponent that does not exist (as `Decomposition.locate`). Raises RankOneError for a name given twice, an unknown one,
    and for a component's name or a query of labels where there is nothing to look it up in.
    """
    expanded: dict[str, list[str]] = {}
    for name in names:
        if name in expanded:
            raise RankOneError(f"'{name}' is given twice.")
        if name.startswith(QUERY):
            if labelled is None:
                raise RankOneError(by_label(name))
            each = expand(labelled(name.removeprefix(QUERY)), clustering, known)
            expanded[name] = [part for members in each.values() for part in members]
        elif clustering is not None and ":" not in name:
            expanded[name] = clustering.members(name)
        elif COMPONENT.fullmatch(name):
            raise RankOneError(of_clustering(name))
        else:
            expanded[name] = name.split("+")
            for part in expanded[name]:
                known(part)
    return expanded


def by_label(name: str) -> str:
    """What to say of a query of labels where none are open."""
    return (
        f"'{name}' stands for parts by their labels: say which, with --harvest DIR and --labels DIR (made by "
        "`rankone harvest` and `rankone label`)."
    )


def of_clustering(name: str) -> str:
    """What to say of a component's name where no clustering is open."""
    return f"'{name}' names a component: say of which clustering, with --clusters DIR."
