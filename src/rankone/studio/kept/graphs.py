"""Attribution graphs that lie in the workspace: what is said of each in its own files, and the worker's answers on one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from rankone.circuits.records import GraphRecord, Verification
from rankone.core.config import Record
from rankone.core.errors import RankOneError
from rankone.core.escaping import SHOWN, clipped
from rankone.core.files import read_json
from rankone.studio.shelf import Shelf, Shelved

KIND, _LONGEST = "graph", 160
# What is known of a graph: all that should be exact is, something is not, nothing was checked, or it cannot be read.
State = Literal["exact", "not exact", "not verified", "broken"]


class ListedGraph(Record):
    """A graph of the workspace. outputs: what it explains; replacement: share of influence that is of tokens.

    hashed: as of `Shelved`.
    """

    id: str
    name: str
    state: State
    prompt: str = ""
    outputs: tuple[str, ...] = ()
    node_set: str = ""
    replacement: float | None = None
    broken: str = ""
    hashed: bool = False


class GraphsView(Record):
    """All graphs of the workspace by name."""

    graphs: tuple[ListedGraph, ...]


def listed(shelf: Shelf) -> GraphsView:
    """The graphs as they lie there; one that was cut, altered or cannot be read with the reason, as far as it is known."""
    return GraphsView(graphs=tuple(_listed(one, shelf) for one in shelf.list() if one.kind == KIND))


def checked(shelf: Shelf) -> GraphsView:
    """The same, all their files read through."""
    shelf.check(KIND)
    return listed(shelf)


def place_of(shelf: Shelf, id_: str) -> Path:
    """Where the graph of an id lies; RankOneError for an id that is none of a graph."""
    for one in shelf.list():
        if one.id == id_ and one.kind == KIND:
            return shelf.place(id_)
    raise RankOneError("no graph of that id in this workspace. Reload the list.")


def _listed(one: Shelved, shelf: Shelf) -> ListedGraph:
    place = shelf.place(one.id)
    try:
        if one.broken:
            raise RankOneError(one.broken.replace(f"{place}/", ""))
        record = GraphRecord.checked(_json(place / "graph.json"), "graph.json")
        verified = place / "verification.json"
        state: State = "not verified"
        if verified.exists():
            exact = Verification.checked(_json(verified), "verification.json").exact
            state = "exact" if exact else "not exact"
    except RankOneError as error:
        return ListedGraph(id=one.id, name=one.name, state="broken", broken=clipped(str(error), _LONGEST))
    return ListedGraph(
        id=one.id,
        name=one.name,
        state=state,
        prompt=clipped(record.prompt, SHOWN),
        outputs=tuple(clipped(output.text, _LONGEST) for output in record.outputs),
        node_set=record.node_set,
        replacement=record.scores.replacement,
        hashed=one.hashed,
    )


def _json(path: Path) -> dict[str, JsonValue]:
    if path.is_symlink() or not path.is_file():
        raise RankOneError(f"{path.name} is missing.")
    return read_json(path)
