"""What labels need of a harvest: names of parts and a page for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from rankone.harvest.reading.page import PartPage


@runtime_checkable
class Pages(Protocol):
    """A harvest, as far as labels read it."""

    def names(self) -> list[str]:
        """Names of all parts it has a page for."""
        ...

    def page(self, name: str) -> PartPage:
        """Everything stored about one part; RankOneError for an unknown name."""
        ...

    def pages(self) -> Iterator[PartPage]:
        """The pages of all parts in the order of `names`."""
        ...
