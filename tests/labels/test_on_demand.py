"""Labels made when they are asked for are those that a whole run would have made."""

from __future__ import annotations

import pytest
from tests.labels.pages import FakeHarvest, ruled

from rankone.core.errors import RankOneError
from rankone.labels.on_demand import StatisticalLabels
from rankone.labels.statistics.statistical import statistical_label


def test_each_label_is_made_once_and_when_asked_for():
    pages = FakeHarvest([ruled("a:0", lambda d, t: d == "de"), ruled("a:1", lambda d, t: t == "ing")])
    labels = StatisticalLabels(pages)
    assert pages.reads == 0
    assert labels.best("a:1") == labels.best("a:1") == statistical_label(pages.by_name["a:1"])
    assert pages.reads == 1
    assert labels.best("a:0").label.startswith("German text")
    with pytest.raises(RankOneError, match="'a:2'"):
        labels.best("a:2")


def test_those_of_all_are_the_same_from_one_reading():
    pages = FakeHarvest([ruled("a:0", lambda d, t: d == "de"), ruled("a:1", lambda d, t: t == "ing")])
    labels = StatisticalLabels.of_all(pages)
    assert [labels.best(name) for name in pages.names()] == [
        StatisticalLabels(pages).best(name) for name in pages.names()
    ]
    assert pages.reads == 2  # by those that were asked for one by one
