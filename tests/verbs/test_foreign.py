"""Every kind of foreign exception through every command, and through the session: one line, exit status 2."""

from __future__ import annotations

import re
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from tests.foreign_kinds import KINDS
from tests.tiny import rankone

from rankone.core.errors import RankOneError
from rankone.core.fields import Positional
from rankone.opening import Opening
from rankone.verbs import verb as boundary
from rankone.verbs.table import VERBS
from rankone.verbs.verb import Verb

# What a required option is given, by its type, where the type alone does not say.
PART = "h.0.mlp.c_fc:0=2"
# Of these one of several options is needed, or two that differ.
MORE = {
    "collect": ["--habit", "list"],
    "rank": ["--of", "de"],
    "survive": ["--benign", "en"],
    "graph-intervene": ["--keep", "all"],
    "graph-export": ["--page", "page.html"],
}


@pytest.fixture(scope="module")
def raised(tmp_path_factory):
    """Each exception once, from its origin."""
    found = {}
    for raising in KINDS:
        try:
            raising(tmp_path_factory.mktemp(raising.__name__))
        except BaseException as error:
            found[raising] = error
    assert found.keys() == KINDS.keys()
    yield found
    found.clear()  # their frames hold what libraries want to see closed


@pytest.fixture
def raising(monkeypatch):
    """A verb whose work raises; nothing that was named is looked for."""
    monkeypatch.setattr(boundary, "check", lambda *_: None)

    def make(verb: Verb[Any, Any], error: BaseException) -> None:
        @wraps(verb.run)  # A command that is built meanwhile keeps its help.
        def run(opening: object, request: object) -> object:
            raise error

        before = verb.run
        object.__setattr__(verb, "run", run)
        undo.append((verb, before))

    undo: list[tuple[Verb[Any, Any], Any]] = []
    yield make
    for verb, before in reversed(undo):
        object.__setattr__(verb, "run", before)


def words(verb: Verb[Any, Any], folder: Path) -> list[str]:
    """The shortest command that the parser takes."""
    said = [verb.name, *MORE.get(verb.name, [])]
    for name, field in verb.request.model_fields.items():
        if not field.is_required():
            continue
        # What is looked up before a verb runs is there.
        known = {"repo": "me/thing", "recipe": "german"}
        value = known.get(name) or _value(str(field.annotation), folder)
        placed = any(isinstance(mark, Positional) for mark in field.metadata)
        if f"--{name}" in said:
            continue
        said += [value] if placed else ["--" + name.rstrip("_").replace("_", "-"), value]
    for name in verb.needs:
        if name == verb.first:
            said.insert(1, str(folder))
        else:
            said += [f"--{name}", str(folder)]
    return said


def _value(annotation: str, folder: Path) -> str:
    if "float]" in annotation:
        return PART
    if "tuple[" in annotation and "Path" in annotation:
        return str(folder)
    return (
        "2"
        if annotation in ("<class 'int'>", "<class 'float'>")
        else str(folder / "x")
        if "Path" in annotation
        else "de"
    )


@pytest.mark.parametrize("name", VERBS)
def test_each_kind_through_each_command(name, raised, raising, tmp_path):
    for kind, error in raised.items():
        raising(VERBS[name], error)
        done = rankone(*words(VERBS[name], tmp_path), quiet=True)
        assert (done.code, done.out) == (2, ""), (kind.__name__, done)
        assert done.err.startswith(f"rankone: {name}: "), done.err
        assert done.err.count("\n") == 1, done.err
        assert len(done.err) < 700, done.err
        assert re.search(KINDS[kind].removeprefix("^"), done.err), done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", VERBS)
def test_each_kind_through_the_verb_itself(name, raised, raising, tmp_path):
    """What the session, and whatever else offers verbs, sees."""
    request = VERBS[name].request.model_construct(**{place: tmp_path / place for place in VERBS[name].writes})
    for error in raised.values():
        raising(VERBS[name], error)
        with pytest.raises(RankOneError, match=f"^{name}: ") as caught:
            VERBS[name].ask(Opening(), request)
        assert caught.value.__cause__ is error
