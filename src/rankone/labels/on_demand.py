"""Labels of a few parts of a harvest, made when they are asked for."""

from __future__ import annotations

from typing import Self

from rankone.labels.label import Label
from rankone.labels.pages import Pages
from rankone.labels.statistics.statistical import statistical_label


class StatisticalLabels:
    """The statistical label of any part of a harvest; nothing is stored but what was asked for."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._made: dict[str, Label] = {}

    @classmethod
    def of_all(cls, pages: Pages) -> Self:
        """Those of all parts at once: each table of the harvest is read one time, and not once per part."""
        labels = cls(pages)
        labels._made = {page.part: statistical_label(page) for page in pages.pages()}
        return labels

    def best(self, part: str) -> Label:
        """The label of one part; an unknown name is an error that offers others."""
        if part not in self._made:
            self._made[part] = statistical_label(self._pages.page(part))
        return self._made[part]
