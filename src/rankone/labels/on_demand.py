"""Labels of a few subcomponents of a harvest, made when they are asked for."""

from __future__ import annotations

from rankone.labels.label import Label
from rankone.labels.pages import Pages
from rankone.labels.statistics.statistical import statistical_label


class StatisticalLabels:
    """The statistical label of any subcomponent of a harvest; nothing is stored but what was asked for."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._made: dict[str, Label] = {}

    def best(self, component: str) -> Label:
        """The label of one subcomponent; an unknown name is an error that offers others."""
        if component not in self._made:
            self._made[component] = statistical_label(self._pages.page(component))
        return self._made[component]
