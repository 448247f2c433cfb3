"""Rows of several texts in few forwards: all there, in order, what does not count is marked."""

from __future__ import annotations

import torch

from rankone.studio.working.portions import portions
from rankone.text.blocks import Blocks


def _text(rows: int, width: int, start: int) -> Blocks:
    ids = torch.arange(start, start + rows * width).view(rows, width)
    valid = torch.ones_like(ids, dtype=torch.bool)
    valid[:, 0] = False
    return Blocks(ids, valid)


def test_rows_keep_their_order_and_what_is_filled_does_not_count():
    text = {"de": _text(2, 3, 0), "en": _text(1, 5, 100), "fr": _text(2, 2, 200)}
    made = portions(text, 10)  # two rows of the widest text
    assert [one.domains for one in made] == [("de", "de"), ("en", "fr"), ("fr",)]
    assert made[1].blocks.ids.tolist() == [[100, 101, 102, 103, 104], [200, 201, 0, 0, 0]]
    assert made[1].blocks.valid.tolist() == [
        [False, True, True, True, True],
        [False, True, False, False, False],
    ]
    assert sum(one.blocks.tokens for one in made) == sum(blocks.tokens for blocks in text.values())


def test_a_row_longer_than_a_portion_stands_alone():
    made = portions({"de": _text(2, 7, 0)}, 3)
    assert [one.blocks.ids.shape for one in made] == [(1, 7), (1, 7)]
