"""What Windows lacks is not leaned on: modules and calls of Unix alone stand where their absence is caught."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tests.rooms import over
from tests.windows.rules import UNIX_ALONE

CALLS = {
    "chown",
    "fork",
    "getpgid",
    "geteuid",
    "getuid",
    "killpg",
    "mkfifo",
    "setsid",
    "sysconf",
    "SIGKILL",
    "SIGALRM",
}


def unix_alone(source: str, path: Path) -> list[str]:
    """Uses of what Windows has not, outside of a `try` and of a question to the system."""
    tree = ast.parse(source)
    caught = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Try)
        or (isinstance(node, ast.If | ast.IfExp) and "platform" in ast.unparse(node.test))
        for inner in ast.walk(node)
    }
    problems: list[str] = []
    for node in ast.walk(tree):
        if id(node) in caught:
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {a.name for a in node.names} if isinstance(node, ast.Import) else {node.module}
            problems += [
                f"src/rankone/{path}:{node.lineno} imports {name}" for name in names & set(UNIX_ALONE)
            ]
        elif (
            isinstance(node, ast.Attribute)
            and node.attr in CALLS
            and ast.unparse(node.value) in ("os", "signal")
        ):
            problems.append(f"src/rankone/{path}:{node.lineno} uses {ast.unparse(node)}")
    return problems


def test_nothing_of_unix_alone_is_leaned_on():
    assert over(unix_alone) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import resource", 1),
        ("from fcntl import flock", 1),
        ("import os\nos.fork()", 1),
        ("try:\n    import resource\nexcept ImportError:\n    resource = None", 0),
        ("import sys, os\nif sys.platform != 'win32':\n    os.getuid()", 0),
    ],
)
def test_the_check_sees_it(source, count):
    assert len(unix_alone(source, Path("x.py"))) == count
