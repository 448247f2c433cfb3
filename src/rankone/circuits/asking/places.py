"""Where in a graph: `PART@POSITION`, `PART` (wherever the graph has it), `PART@all` (everywhere: the weight itself)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Place:
    """A part and a position; None is wherever the graph has it. everywhere: at all positions, generated ones too."""

    part: str
    position: int | None = None
    everywhere: bool = False

    @classmethod
    def of(cls, text: str) -> Self:
        """Read `PART`, `PART@4` or `PART@all`; ValueError for anything else."""
        part, at, where = text.partition("@")
        site, colon, number = part.rpartition(":")
        if not (site and colon and number.isdecimal()) or (at and not (where.isdecimal() or where == "all")):
            raise ValueError(
                f"'{text}' names no place in a graph: write PART, PART@POSITION or PART@all, as h.3.mlp.down_proj:270@4"
            )
        return cls(part, int(where) if where.isdecimal() else None, where == "all")

    def __str__(self) -> str:
        where = "@all" if self.everywhere else "" if self.position is None else f"@{self.position}"
        return f"{self.part}{where}"
