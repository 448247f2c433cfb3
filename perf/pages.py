"""Markdown tables, and their places in a page: between two marks, `<!-- NAME -->` and `<!-- /NAME -->`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rankone.core.files import write_text


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, a line a row."""
    first, *others = ("| " + " | ".join(row) + " |" for row in [head, *rows])
    return "\n".join([first, "|" + "---|" * len(head), *others])


def write_table(page: Path, name: str, table: str) -> None:
    """Exchange what stands between the marks of `name`; ValueError where the page lacks them."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, first, rest = page.read_text("utf8").partition(begin)
    _, last, after = rest.partition(end)
    if not (first and last):
        raise ValueError(f"{page} has no table between {begin} and {end}")
    write_text(page, f"{before}{begin}\n\n{table}\n\n{end}{after}")
