"""Rows of several texts in few forwards: all there, what does not count is marked, and little is filled up."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rankone.studio.working import portions as module
from rankone.studio.working.portions import portions, rows_of
from rankone.text.blocks import Blocks


def _text(lengths: list[int], start: int) -> Blocks:
    """Rows of these lengths, ids counted on from `start`, filled up with 9."""
    width = max(lengths)
    ids = torch.full((len(lengths), width), 9)
    valid = torch.zeros(len(lengths), width, dtype=torch.bool)
    for i, length in enumerate(lengths):
        ids[i, :length] = torch.arange(start + 100 * i, start + 100 * i + length)
        valid[i, 1:length] = True
    return Blocks(ids, valid)


def test_rows_stand_with_those_that_are_about_as_long_and_what_is_filled_does_not_count(monkeypatch):
    monkeypatch.setattr(module, "FORWARD", 0)
    text = {"de": _text([5, 2, 4], 1000), "en": _text([5], 2000), "fr": _text([3, 3], 3000)}
    made = portions(text, 11)
    assert [one.places for one in made] == [
        (("de", 0),),
        (("de", 2),),
        (("de", 1),),
        (("en", 0),),
        (("fr", 0), ("fr", 1)),
    ]
    monkeypatch.setattr(module, "FORWARD", 3)  # a forward more now costs more than filling up the shorter row
    made = portions(text, 11)
    assert [one.places for one in made][:2] == [(("de", 0), ("de", 2)), (("de", 1),)]
    assert made[0].blocks.ids.tolist() == [[1000, 1001, 1002, 1003, 1004], [1200, 1201, 1202, 1203, 0]]
    assert made[0].blocks.valid.tolist() == [[False, *[True] * 4], [False, *[True] * 3, False]]


def test_a_row_longer_than_a_portion_stands_alone():
    made = portions({"de": _text([7, 7], 0)}, 3)
    assert [one.blocks.ids.shape for one in made] == [(1, 7), (1, 7)]


@given(
    st.lists(st.lists(st.integers(2, 12), min_size=1, max_size=5), min_size=1, max_size=3), st.integers(1, 40)
)
def test_every_row_is_in_one_portion_as_it_was_but_those_left_out(lengths, most):
    text = {f"d{i}": _text(rows, 1000 * i) for i, rows in enumerate(lengths)}
    rows = {place: row for domain, blocks in text.items() for place, row in rows_of(domain, blocks)}
    made = portions(text, most, {("d0", 0)})
    placed = [place for one in made for place in one.places]
    assert sorted(placed) == sorted(rows.keys() - {("d0", 0)})
    for one in made:
        assert one.blocks.ids.numel() <= most or len(one.places) == 1
        for i, place in enumerate(one.places):
            length = rows[place].ids.shape[1]
            assert torch.equal(one.blocks.ids[i, :length], rows[place].ids[0])
            assert torch.equal(one.blocks.valid[i, :length], rows[place].valid[0])
            assert not one.blocks.valid[i, length:].any()


@pytest.mark.parametrize("most", [12, 25, 60])
def test_no_other_cut_of_the_sorted_rows_costs_less(most):
    lengths = [12, 11, 11, 9, 5, 5, 2, 1]

    def cost(bounds) -> int:
        return sum(
            module.FORWARD + lengths[a] * (b - a) if b - a == 1 or lengths[a] * (b - a) <= most else 10**9
            for a, b in pairwise(bounds)
        )

    cuts = ([0, *(i for i, cut in enumerate(chosen, 1) if cut), 8] for chosen in product((0, 1), repeat=7))
    assert cost(module._cheapest(lengths, most)) == min(map(cost, cuts))
