"""The parts whose labels have the words of a query; looked up without PyTorch."""

from __future__ import annotations

from rankone.core.errors import RankOneError
from rankone.labels.query import Query
from rankone.labels.store import Labels


def matches(labels: Labels, query: str) -> dict[str, float]:
    """How well each part's best label has the words of a query (Query.match), in the labels' order.

    RankOneError where none has them, not even as beginnings of its words.
    """
    asked = Query.read(query)
    by_name = {name: asked.match(labels.best(name).label) for name in labels.names()}
    if not any(by_name.values()):
        raise RankOneError(_none_labelled(labels, query))
    return by_name


def labelled(labels: Labels, query: str) -> list[str]:
    """What has all words of the query, whole, in its label, in the labels' order; RankOneError where nothing has."""
    names = [name for name, match in matches(labels, query).items() if match == 1]
    if not names:
        raise RankOneError(_none_labelled(labels, query))
    return names


def _none_labelled(labels: Labels, query: str) -> str:
    return (
        f"no label holds '{query}' ({len(labels.names()):,} labels searched). `rankone search` also looks at tokens and "
        "reasons."
    )
