"""Sorted mean importances, their gaps, and what the importances look like."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.decomposition.evidence.texts import evidence_text

from rankone.decomposition.evidence.records import SubcomponentRow
from rankone.decomposition.evidence.spectrum import habits, spectrum, subcomponent_rows, widest_gap


def rows_of(means, **other):
    columns = {"density": 1.0, "undecided": 0.0, "minority": 0.0, **other}
    about = {"rank": 1, "subcomponent": "s:0", "site": "s"}
    return [SubcomponentRow(mean_importance=m, **about, **columns) for m in means]


def test_the_widest_gap_by_hand():
    found = widest_gap([0.5, 1e-8, 0.05, 0.0, 1e-2, 1e-7])
    assert found.model_dump() == {"above": 1e-2, "below": 1e-7, "decades": pytest.approx(5), "count": 3}
    assert widest_gap([0.3, 0.0]) is None


@given(st.lists(st.floats(1e-12, 1.0), min_size=2, max_size=30))
def test_no_step_is_wider_than_the_widest(means):
    found = widest_gap(means)
    order = sorted(means)
    assert all(b / a <= 10**found.decades * (1 + 1e-9) for a, b in pairwise(order))
    assert sum(m >= found.above for m in means) >= found.count
    assert found.below <= found.above


def test_the_summary_counts_zeros_and_the_gap_at_alive():
    found = spectrum(rows_of([0.5, 1e-3, 1e-8, 0.0, 0.0]))
    assert (found.zero, found.between_zero_and_alive) == (2, 1)
    assert found.gap_at_alive.model_dump() == {"above": 1e-3, "below": 1e-8, "decades": pytest.approx(5)}
    assert {q.share: q.mean_importance for q in found.quantiles}[0.5] == 1e-8
    dead = spectrum(rows_of([0.0]))
    assert dead.gap_at_alive.above is None
    assert dead.widest_gap is None


def test_a_row_per_subcomponent_highest_first():
    text = evidence_text()
    g = torch.zeros_like(text.importance)
    g[..., 9] = 1.0
    g[0, 0, 0], g[0, 1, 0] = 0.5, 1.0
    text.importance = g
    text.signs = torch.zeros(2, g.shape[-1])
    text.signs[:, 0] = torch.tensor([1.0, 0.5])
    rows = subcomponent_rows(text)
    names = text.model.decomposition.names()
    assert [(r.rank, r.subcomponent) for r in rows[:2]] == [(1, names[9]), (2, names[0])]
    positions = int(text.present.sum())
    assert rows[1].mean_importance == pytest.approx(1.5 / positions)
    assert rows[1].density == pytest.approx(2 / positions)
    assert rows[1].undecided == pytest.approx(0.5 / 1.5)
    assert rows[1].minority == pytest.approx(0.5 / 1.5)
    assert rows[1].site == names[0].rpartition(":")[0]
    assert len(rows) == 56
    assert rows[-1].mean_importance == 0


def test_habits_are_of_the_alive_alone():
    rows = rows_of([0.5], undecided=1.0)  # half on everywhere
    rows += rows_of([0.5], density=0.5, minority=0.3)  # bipolar
    rows += rows_of([1.0])  # always on
    rows += rows_of([1e-9], minority=0.5, undecided=1.0)  # dead
    found = habits(rows)
    assert found.model_dump() == {
        "undecided": pytest.approx(0.25),
        "bipolar": pytest.approx(1 / 3),
        "half_on": pytest.approx(1 / 3),
    }
    assert habits(rows_of([0.0])).model_dump() == {"undecided": 0.0, "bipolar": 0.0, "half_on": 0.0}
