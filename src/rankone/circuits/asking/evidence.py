"""What is shown beside a graph's nodes, labels and what was counted over text, is of the graph's own parts, or refused."""

from __future__ import annotations

from rankone.circuits.records import Belonging
from rankone.core.errors import RankOneError
from rankone.harvest.origin import Derived
from rankone.labels.store import Labels


def require_same_parts(
    of: Belonging,
    graph: str,
    harvest: Derived | None,
    labels: Labels | None,
    components: Derived | None = None,
) -> tuple[str, ...]:
    """RankOneError for evidence of another decomposition or model; sentences of what cannot be compared.

    of: what the graph says that it is of; graph: what it is called. labels: beside a harvest they are known to be of it.
    """
    counted = (one for one in (harvest, components) if one is not None)
    said = [words for one in counted for words in _compared(of, graph, one)]
    if labels is not None and harvest is None:
        said += _labelled(of, graph, labels)
    return tuple(said)


def _compared(of: Belonging, graph: str, counted: Derived) -> list[str]:
    made, what = counted.origin, f"'{counted.artifact.path}'"
    if of.target is None:
        return [_unknown(graph, what)]
    if of.decomposition not in (None, made.decomposition):
        raise _other(what, "decomposition", made.decomposition, graph, of.decomposition)
    if of.target != made.model.hash:
        raise _other(what, f"model, '{made.model.name}',", made.model.hash, graph, of.target)
    return [_of_origin(of, what)] if of.origin else []


def _labelled(of: Belonging, graph: str, labels: Labels) -> list[str]:
    what, made = f"'{labels.artifact.path}'", labels.decomposition
    if of.origin:
        return [_of_origin(of, what)]
    if of.decomposition is None:
        return [_unknown(graph, what)]
    if made is None:
        return [
            f"{what} does not say which decomposition it is of, as labels made since do: names alone were compared. Give "
            "--harvest too, the one they were made from."
        ]
    if made != of.decomposition:
        raise _other(what, "decomposition", made, graph, of.decomposition)
    return []


def _unknown(graph: str, what: str) -> str:
    return (
        f"{graph} does not say which decomposition it is of, as graphs made since do: names alone were compared with those "
        f"of {what}. Make it anew (rankone graph) to be sure."
    )


def _of_origin(of: Belonging, what: str) -> str:
    return (
        f"Parts of origin {of.origin} are compared with those of {what} by their names, not by their weights."
    )


def _other(what: str, kind: str, theirs: str, graph: str, ours: str | None) -> RankOneError:
    return RankOneError(
        f"{what} was made from another {kind} (hash {theirs[:12]}…) than {graph} ({str(ours)[:12]}…): its parts have "
        "the same names alone. Give one that was made from the graph's, or leave it out."
    )
