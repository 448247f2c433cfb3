"""The pages of errors: one per family, with every message of it that the code can raise; for the documentation's site.

Messages are read from the source with `ast`, so that a new one is on its page without anybody's doing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rankone.doctor.families import Family, families, family_of

SOURCE = Path(__file__).resolve().parents[1]
PLACE = "…"
"""What stands in a message for a value that is put in."""


class Message(NamedTuple):
    """A message as it stands in the code, values as `…`; where: the file below src/rankone."""

    where: str
    text: str


def messages() -> list[Message]:
    """Every message that a RankOneError is raised with, by file."""
    return [
        Message(path.relative_to(SOURCE).as_posix(), " ".join(text.split()))
        for path in sorted(SOURCE.rglob("*.py"))
        if "assets" not in path.relative_to(SOURCE).parts
        for text in _raised(ast.parse(path.read_text("utf8")))
    ]


def _raised(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "RankOneError"
            and node.args
        ):
            text = _text(node.args[0])
            if text.strip(f"{PLACE}:. "):
                yield text


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=value):
            return str(value)
        case ast.JoinedStr(values=values):
            return "".join(map(_text, values))
        case ast.BinOp(left=left, right=right):
            return _text(left) + _text(right)
        case ast.IfExp(body=body):
            return _text(body)
        case _:
            return PLACE


def by_family() -> dict[str, list[Message]]:
    """The messages of every family, by its code."""
    listed: dict[str, list[Message]] = {family.code: [] for family in families()}
    for message in messages():
        listed[family_of(message.text).code].append(message)
    return listed


def page(family: Family, of_family: list[Message]) -> str:
    """Markdown of one family's page, for `errors/CODE.md`."""
    lines = [
        f"# {family.code}",
        "",
        f"**What happened.** {family.happened}",
        "",
        f"**What to do.** {family.mend}",
        "",
    ]
    lines += [f"More: [{family.see}](../{family.see}). All families: [errors](../errors.md).", ""]
    lines += ["## What it says", "", "Values stand as …; the room of the code that says it is in front.", ""]
    lines += [f"- `{message.where.partition('/')[0]}`: {_plain(message.text)}" for message in of_family]
    return "\n".join([*lines, ""])


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    for mark in "\\`*_{}[]#":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("<", "&lt;")


def table() -> str:
    """The families as a table, for docs/errors.md."""
    rows = [f"| `{f.code}` | {f.happened} | {f.mend} |" for f in families()]
    return "\n".join(["| code | what happened | what to do |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    import sys

    sys.stdout.write(table())
