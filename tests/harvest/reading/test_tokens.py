"""Vocabulary entries over all subcomponents, against the page's formulas."""

from __future__ import annotations

import math

import pytest
from tests.harvest.counted import Counted

from rankone.harvest.reading.tokens import token_shares


@pytest.fixture
def store():
    vocabulary = [("a", 10, 0.0), ("b", 30, 20.0), ("c", 60, 80.0)]
    return Counted(
        {"x": 60, "y": 40},
        {"s:0": (10, 10), "s:1": (5, 0), "s:2": (0, 0)},
        vocabulary,
        inputs={"s:0": {"a": 8, "b": 4, "c": 8}, "s:1": {"c": 5}},
        outputs={"s:1": {"b": 2.5}},
    )


def test_one_entry(store):
    found = token_shares(store, "inputs", [2])
    assert found.part.tolist() == [0, 1]
    assert found.precision.tolist() == [8 / 20, 1.0]
    assert found.recall.tolist() == pytest.approx([8 / 60, 5 / 60])
    assert found.pmi.tolist() == pytest.approx([math.log(8 * 100 / (20 * 60)), math.log(5 * 100 / (5 * 60))])


def test_several_entries_count_as_one(store):
    found = token_shares(store, "inputs", [0, 1])
    assert found.part.tolist() == [0]
    assert found.weight.tolist() == [12.0]
    assert found.pmi.tolist() == pytest.approx([math.log(12 * 100 / (20 * 40))])


def test_outputs(store):
    found = token_shares(store, "outputs", [1])
    assert (found.part.tolist(), found.pmi.tolist()) == (
        [1],
        pytest.approx([math.log(2.5 * 100 / (5 * 20))]),
    )


def test_nothing(store):
    assert len(token_shares(store, "outputs", [0]).part) == 0
    assert len(token_shares(store, "outputs", []).part) == 0
