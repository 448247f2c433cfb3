"""The house's words: a name in the code says what it holds, and a component is a cluster of subcomponents.

Read with `ast`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rooms import over

# Rooms that know no clusters, so that nothing in them is a component.
WITHOUT_COMPONENTS = ("core", "decomposition")
# Names that say that something is held, not what: `found` may be anything.
EMPTY = re.compile(r"_?(own|found|told|meets?|tells?|telling|foretold|living)|_?(same|own|found)_\w*")
# Not `subcomponent`; not the keys of published checkpoints, `_components.SITE.V` and `SITE.components.V`.
COMPONENT = re.compile(r"(?<!sub)(?<!Sub)(?<![_}]\.)(?<!`)component(?!s\.)", re.IGNORECASE)


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of every name that a file defines: variables, parameters, attributes, functions and classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def empty_names(source: str, path: Path) -> list[str]:
    """Names of a file that do not say what they hold."""
    return [
        f"src/rankone/{path}:{line} calls something '{name}': say what it holds"
        for line, name in names(ast.parse(source))
        if EMPTY.fullmatch(name)
    ]


def components(source: str, path: Path) -> list[str]:
    """Lines of a file that speak of components; what reads older versions has to say their words."""
    if path.parts[:2] == ("core", "schemas"):
        return []
    return [
        f"src/rankone/{path}:{number} speaks of a component: {line.strip()}"
        for number, line in enumerate(source.splitlines(), 1)
        if COMPONENT.search(line)
    ]


def test_names_say_what_they_hold():
    assert over(empty_names) == []


def test_no_component_where_there_are_no_clusters():
    assert over(components, WITHOUT_COMPONENTS) == []


def test_alpha_is_the_scale_of_a_part_alone():
    """A decomposition is made before anything is scaled: no other number is called α there."""
    named = over(lambda source, path: [f"src/rankone/{path}"] if "α" in source else [], ("decomposition",))
    assert named == []


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "for own in rows: pass",
        "def same_output(): pass",
        "def f(own): pass",
        "self.own = 1",
        "class A:\n    found: int",
        "with a as found: pass",
        "[x for own in y]",
        "def _told(self): pass",
        "own_delta = 1",
    ],
)
def test_empty_names_are_found(source):
    (problem,) = empty_names(source, Path("a.py"))
    assert problem.startswith("src/rankone/a.py:")


def test_names_of_other_rooms_may_be_used_and_words_may_be_written():
    assert (
        empty_names(
            'ranks.same_words(x)\nf(own=1)\n"""What is found of its own."""\nownership = 1', Path("a.py")
        )
        == []
    )


def test_components_are_found():
    bad = "component = 1\nclass Component: ...\nf'{n} components'\n'the component'"
    assert len(components(bad, Path("a.py"))) == 4
    good = "subcomponent = 1\nSUBCOMPONENTS = 2\nf'_components.{site}.V'\n'Subcomponents'\n'.components.V'"
    assert components(good, Path("a.py")) == []
