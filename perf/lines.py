"""How much code there is: lines of src without blanks, comments and docstrings, by room.

    python -m perf.lines                  # of this tree; a folder of another one can be named
    python -m perf.lines ../old/src/rankone

The built-in model's own file (`assets/`) is a copy and does not count.
"""

from __future__ import annotations

import argparse
import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "rankone"
_EMPTY = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(source: str) -> int:
    """Lines that hold something but a comment or a part of a docstring."""
    said: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            said.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _EMPTY:
            held.update(range(token.start[0], token.end[0] + 1))
    return len(held - said)


def main() -> None:
    """Print the lines of every room, the largest first, and of all."""
    parser = argparse.ArgumentParser(description="Count lines of code by room.")
    parser.add_argument("source", nargs="?", type=Path, default=SOURCE, help="folder of a package")
    source: Path = parser.parse_args().source
    rooms: Counter[str] = Counter()
    for file in source.rglob("*.py"):
        room = file.relative_to(source).parts[0]
        if room != "assets":
            rooms[room] += code_lines(file.read_text("utf8"))
    for room, lines in rooms.most_common():
        print(f"{lines:7,} {room}")
    print(f"{rooms.total():7,} in all")


if __name__ == "__main__":
    main()
