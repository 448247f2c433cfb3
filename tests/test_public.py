"""What `import rankone` gives, and all that comes back from it, is on the reference page, documented and annotated."""

from __future__ import annotations

import inspect
import re
import tomllib
import typing
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.rooms import ROOT

import rankone
from rankone.render.reply import Reply
from rankone.session import Session
from rankone.verbs.table import VERBS

PAGE = (ROOT.parents[1] / "docs" / "reference.md").read_text("utf8")


def named(dotted: str) -> object:
    """What `a.b.C` names."""
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)


ON_PAGE = {dotted: named(dotted) for dotted in re.findall(r"^::: (\S+)$", PAGE, re.MULTILINE)}
VERB_MODELS = {f"{v.name}: {m.__name__}": m for v in VERBS.values() for m in (v.request, v.reply)}


def test_all_that_the_package_gives_is_on_the_page():
    missing = [n for n in rankone.__all__ if getattr(rankone, n) not in ON_PAGE.values()]
    assert missing == []


def test_all_that_a_session_answers_with_is_on_a_page():
    """Replies are described by verb, in docs/api.md."""
    missing = set()
    for _, method in inspect.getmembers(Session, inspect.isfunction):
        answer = str(inspect.signature(method).return_annotation)
        homes = re.findall(r"\b[A-Z]\w+", answer)
        replies = {verb.reply.__name__ for verb in VERBS.values()}
        known = {getattr(thing, "__name__", "") for thing in ON_PAGE.values()} | replies
        missing |= {name for name in homes if not method.__name__.startswith("_") and name not in known}
    assert missing <= {"None"}


def test_the_modules_on_the_page_are_checked_strictly():
    root = ROOT.parents[1]
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf8"))["tool"]["basedpyright"]
    strict = [root / path for path in settings["strict"]]
    assert [path for path in strict if not path.exists()] == []
    homes = {Path(inspect.getfile(import_module(dotted.rpartition(".")[0]))).resolve() for dotted in ON_PAGE}
    assert len(homes) > 15
    lost = [home for home in homes if not any(home.is_relative_to(path) for path in strict)]
    assert lost == [], "docs/reference.md names what is there: add it to `strict` of basedpyright"


def members(thing: object) -> Iterator[tuple[str, object]]:
    """A function itself; of a class its public methods and properties that RankOne defines."""
    if not isinstance(thing, type):
        yield getattr(thing, "__name__", ""), thing
        return
    for owner in thing.__mro__:
        if owner.__module__.startswith("rankone."):
            yield from (
                (f"{owner.__name__}.{name}", member)
                for name, member in vars(owner).items()
                if not name.startswith("_") or name == "__init__"
            )


def function_of(member: object) -> typing.Any:
    """The function behind a method, a property or a class method; None for data."""
    if isinstance(member, property):
        return member.fget
    if isinstance(member, cached_property):
        return member.func
    if isinstance(member, classmethod | staticmethod):
        return member.__func__
    return inspect.unwrap(member) if inspect.isfunction(member) else None


def problems(thing: object) -> list[str]:
    """Names without a docstring, and parameters and answers without an annotation."""
    wrong = [] if inspect.getdoc(thing) else [f"{thing}: no docstring"]
    for name, member in members(thing):
        function = function_of(member)
        if function is None or not str(function.__module__).startswith("rankone."):
            continue
        signature = inspect.signature(function)
        bare = [p.name for p in signature.parameters.values() if p.annotation is p.empty]
        if [p for p in bare if p not in ("self", "cls")] or signature.return_annotation is signature.empty:
            wrong.append(f"{name}: not fully annotated")
        if not name.endswith("__init__") and not inspect.getdoc(function):
            wrong.append(f"{name}: no docstring")
    return wrong


@pytest.mark.parametrize("name", ON_PAGE | VERB_MODELS)
def test_public_names_are_documented_and_annotated(name):
    assert problems((ON_PAGE | VERB_MODELS)[name]) == []


def test_the_version_is_that_of_what_is_installed():
    assert rankone.__version__ == version("rankone")


def test_what_is_missing_is_found():
    class Bad:
        def method(self, a):
            return a

    Bad.__module__ = Bad.method.__module__ = "rankone.bad"
    assert len(problems(Bad)) == 3
    assert problems(Reply) == []
