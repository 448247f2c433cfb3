"""No `Any` in a public signature, in no room: what a function takes and gives is said. Read with `ast`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rooms import over


def signatures(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[int, str, list[ast.expr]]]:
    """(line, name, annotations) of the public functions, methods, fields and aliases in a body."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from signatures(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_public(node.name):
            given = node.args
            arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            said = [*(a.annotation for a in arguments if a is not None), node.returns]
            yield (
                node.lineno,
                prefix + node.name,
                [annotation for annotation in said if annotation is not None],
            )
            if node.name == "__init__":
                yield from _attributes(node, prefix)
        elif isinstance(node, ast.AnnAssign) and _is_public(ast.unparse(node.target)):
            yield node.lineno, prefix + ast.unparse(node.target), [node.annotation]
        elif isinstance(node, ast.Assign) and _is_public(ast.unparse(node.targets[0])):
            yield node.lineno, prefix + ast.unparse(node.targets[0]), [node.value]
        elif isinstance(node, ast.If):  # TYPE_CHECKING, overloads by version
            yield from signatures([*node.body, *node.orelse], prefix)


def _attributes(
    init: ast.FunctionDef | ast.AsyncFunctionDef, prefix: str
) -> Iterator[tuple[int, str, list[ast.expr]]]:
    for node in ast.walk(init):
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(node, ast.AnnAssign) and isinstance(target, ast.Attribute) and _is_public(target.attr):
            yield node.lineno, prefix + target.attr, [node.annotation]


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name in (
        "__init__",
        "__call__",
        "__enter__",
        "__exit__",
        "__iter__",
        "__getitem__",
    )


def untyped(source: str, path: Path) -> list[str]:
    """Public names of a file whose signature has an `Any`."""
    problems = []
    for line, name, said in signatures(ast.parse(source).body):
        if any(ast.unparse(n) in ("Any", "typing.Any") for annotation in said for n in ast.walk(annotation)):
            problems.append(f"src/rankone/{path}:{line} {name}: say what it is instead of Any")
    return problems


def test_public_signatures_say_what_they_take_and_give():
    assert over(untyped) == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(a: Any): ...", ["f"]),
        ("def f(*a: int, **b: dict[str, Any]): ...", ["f"]),
        ("def f() -> list[Any]: ...", ["f"]),
        ("class A:\n    x: Any = 1\n    def g(self, *, y: typing.Any): ...", ["A.x", "A.g"]),
        ("class A:\n    def __init__(self):\n        self.x: Any = 1\n        self._y: Any = 2", ["A.x"]),
        ("Step = Callable[[Any], int]", ["Step"]),
        ("def _f(a: Any): ...\nclass _A:\n    x: Any\n_Y = dict[str, Any]", []),
        ("def f(a: object) -> int:\n    b: Any = a\n    return b", []),
    ],
)
def test_any_is_found_where_it_is_public(source, names):
    assert [p.split()[1].rstrip(":") for p in untyped(source, Path("a.py"))] == names
