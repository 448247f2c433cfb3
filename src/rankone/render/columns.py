"""The columns of a table: how their values are written, and which of them may be left out where there is no room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rankone.render.values import formatted, percent, shown_token

Value = str | int | float | bool | None | tuple[str, ...]
"""What a cell may hold; a tuple is a list of tokens."""
BAR, LEVEL, TOKEN, SHARE = "bar", "level", "token", "share"
"""Formats beside Python's specifications: a bar against the column's largest value, one cell against the largest of the
row's levels, text whose outer spaces are shown, and a share to three digits."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    name: its heading, and its key in rows written as JSON or CSV.
    format: a Python format specification (`+.3f`, `.1%`) or one of BAR, LEVEL, TOKEN, SHARE.
    key: it names the row: it is always shown, and wraps where it must.
    priority: where there is no room the column with the lowest is left out first, of equals the one furthest right.
    limit: values at or above it stand out. shade: on a page the cell is darker the larger its value.
    """

    name: str
    format: str = ""
    key: bool = False
    priority: int = 1
    limit: float | None = None
    shade: bool = False

    def text(self, value: Value) -> str:
        """A value of this column as plain text."""
        if isinstance(value, tuple):
            return " ".join(map(shown_token, value))
        if self.format == TOKEN and isinstance(value, str):
            return shown_token(value)
        if self.format == SHARE and isinstance(value, float):
            return percent(value)
        return formatted(value, "" if self.format in (BAR, LEVEL, TOKEN) else self.format)

    def stands_out(self, value: Value) -> bool:
        """Whether a value is at or above the limit."""
        return self.limit is not None and isinstance(value, int | float) and value >= self.limit


@runtime_checkable
class Tabular(Protocol):
    """What a table has that is drawn: `Table` of `render/tables.py`, which shows itself by what takes this."""

    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def caption(self) -> str: ...  # noqa: D102
    @property
    def columns(self) -> tuple[Column, ...]: ...  # noqa: D102
    @property
    def rows(self) -> tuple[tuple[Value, ...], ...]: ...  # noqa: D102
    @property
    def strong(self) -> frozenset[int]: ...  # noqa: D102


def is_words(table: Tabular, place: int) -> bool:
    """Whether a column holds text (on the left, may wrap) rather than numbers (on the right, never cut)."""
    values = [row[place] for row in table.rows]
    return table.columns[place].format not in (BAR, LEVEL) and all(
        isinstance(v, str | tuple | None) for v in values
    )


def share(table: Tabular, place: int, row: tuple[Value, ...]) -> float:
    """How full a BAR or LEVEL is, 0 to 1: against the largest value of the column, or of the row's levels."""
    if table.columns[place].format == BAR:
        against = [_size(r[place]) for r in table.rows]
    else:
        against = [_size(v) for c, v in zip(table.columns, row, strict=True) if c.format == LEVEL]
    return _size(row[place]) / (max(against) or 1.0)


def _size(value: Value) -> float:
    return max(float(value), 0.0) if isinstance(value, int | float) else 0.0
