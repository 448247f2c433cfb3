"""What labels need of a harvest: names of subcomponents and a page for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from rankone.harvest.reading.page import ComponentPage


@runtime_checkable
class Pages(Protocol):
    """A harvest, as far as labels read it."""

    def components(self) -> list[str]:
        """Names of all subcomponents it has a page for."""
        ...

    def page(self, name: str) -> ComponentPage:
        """Everything stored about one subcomponent; RankOneError for an unknown name."""
        ...

    def pages(self) -> Iterator[ComponentPage]:
        """The pages of all subcomponents in the order of `components`."""
        ...
