"""What a verb answers: the base of all replies, beside its request in the room that does the work."""

# pandas has no types here, and brings its own where it is installed.
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self

from markupsafe import escape
from pydantic import ConfigDict, PrivateAttr

from rankone.core.config import Record
from rankone.render.tables import Table

if TYPE_CHECKING:
    import pandas
    from rich.console import RenderableType


class Reply(Record):
    """What a verb answers: plain values for `--json`, tables and lines for people."""

    model_config = ConfigDict(ser_json_inf_nan="null")
    _tables: tuple[Table, ...] = PrivateAttr(())
    _above: tuple[RenderableType, ...] = PrivateAttr(())

    @property
    def exit_status(self) -> int:
        """What the command ends with; 0 unless a reply says otherwise (refusals end with 2)."""
        return 0

    @property
    def table(self) -> Table:
        """Its first table; IndexError where it has none."""
        return self.tables()[0]

    def head(self, count: int = 10) -> Table:
        """The first rows of its first table."""
        return self.table.head(count)

    def to_pandas(self) -> pandas.DataFrame:
        """Its first table as a data frame; RankOneError where pandas is not installed."""
        return self.table.to_pandas()

    def __str__(self) -> str:
        return "\n\n".join([*map(str, self.tables()), *self.lines()])

    def __repr__(self) -> str:
        return str(self) or super().__repr__()

    def _repr_html_(self) -> str:
        tables = (table._repr_html_() for table in self.tables())  # pyright: ignore[reportPrivateUsage]
        return "".join([*tables, *(f"<p>{escape(line)}</p>" for line in self.lines())])

    def showing(self, *tables: Table, above: Iterable[RenderableType] = ()) -> Self:
        """The same with tables that hold more than its fields, and what a terminal shows above them."""
        self._tables, self._above = tables, tuple(above)
        return self

    def above(self) -> Sequence[RenderableType]:
        """What a terminal shows before the tables, for rich."""
        return self._above

    def tables(self) -> Sequence[Table]:
        """The tables a person reads, in order."""
        return self._tables

    def lines(self) -> Sequence[str]:
        """Sentences below the tables: where something was written, what to try next."""
        return ()
