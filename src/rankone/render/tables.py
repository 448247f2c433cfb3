"""A table: what every verb answers with. It shows itself on a terminal and in a notebook, and gives its rows as data."""

# pandas has no types here, and brings its own where it is installed.
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

import csv
import io
import json
import math
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from rich.console import Console, ConsoleOptions, RenderResult

from rankone.core.errors import RankOneError
from rankone.render.columns import Column, Value
from rankone.render.terminal import drawn, plain

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Table:
    """Rows of values under columns, a title and a caption that says units and sources.

    columns: names, or Columns; without a key among them the first is it. strong: the rows that stand out, by number.
    Raises RankOneError where a row is not as long as the columns, or a name is given twice.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    caption: str = ""
    strong: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls,
        title: str,
        columns: Iterable[str | Column],
        rows: Iterable[Sequence[object]],
        caption: str = "",
        strong: Iterable[int] = (),
    ) -> Table:
        """A table of whatever rows there are; numbers of NumPy and torch become Python's."""
        made = tuple(c if isinstance(c, Column) else Column(c) for c in columns)
        if made and not any(c.key for c in made):
            made = (replace(made[0], key=True), *made[1:])
        names = [c.name for c in made]
        values = tuple(tuple(_value(v) for v in row) for row in rows)
        for i, row in enumerate(values):
            if len(row) != len(made):
                raise RankOneError(f"table '{title}', row {i}: {len(row)} values for {len(made)} columns.")
        if len(set(names)) != len(names):
            raise RankOneError(f"table '{title}' has two columns of one name: {', '.join(names)}.")
        return cls(title, made, values, caption, frozenset(strong))

    def __len__(self) -> int:
        return len(self.rows)

    def head(self, count: int = 10) -> Table:
        """The first `count` rows; RankOneError for fewer than none."""
        if count < 0:
            raise RankOneError(f"a table has no {count} rows: ask for 0 or more.")
        return replace(self, rows=self.rows[:count], strong=frozenset(i for i in self.strong if i < count))

    def column(self, name: str) -> list[Value]:
        """The values of one column; RankOneError where there is none of that name."""
        names = [c.name for c in self.columns]
        if name not in names:
            raise RankOneError(f"table '{self.title}' has no column '{name}', only {', '.join(names)}.")
        return [row[names.index(name)] for row in self.rows]

    def records(self) -> list[dict[str, str | int | float | bool | list[str] | None]]:
        """One dict per row, by column name, as JSON can hold it: what is not a finite number is None."""
        return [{c.name: _plain(v) for c, v in zip(self.columns, row, strict=True)} for row in self.rows]

    def to_json(self) -> str:
        """The rows as a JSON list of objects, numbers in full."""
        return json.dumps(self.records(), ensure_ascii=False)

    def to_csv(self) -> str:
        """The rows as CSV with a heading, numbers in full."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(c.name for c in self.columns)
        writer.writerows([" ".join(v) if isinstance(v, tuple) else v for v in row] for row in self.rows)
        return stream.getvalue()

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame; RankOneError where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise RankOneError("pandas is not installed: `pip install pandas`, or use .records().") from None
        return pandas.DataFrame(self.records(), columns=pandas.Index([c.name for c in self.columns]))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from drawn(self, options.max_width)

    def __str__(self) -> str:
        """As wide as the terminal that is printed to, where there is one."""
        return plain(self, shutil.get_terminal_size().columns) if sys.stdout.isatty() else plain(self)

    def __repr__(self) -> str:
        """The table: what a prompt shows of a last line."""
        return str(self)

    def _repr_html_(self) -> str:
        from rankone.render.pages import table_html

        return table_html(self)


def _value(value: object) -> Value:
    """A cell's value; numbers of NumPy and torch have `item`."""
    item = getattr(value, "item", None)
    if callable(item) and not isinstance(value, str | int | float):
        value = item()
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, list | tuple):
        return tuple(map(str, cast("Sequence[object]", value)))
    return str(value)


def _plain(value: Value) -> str | int | float | bool | list[str] | None:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value
