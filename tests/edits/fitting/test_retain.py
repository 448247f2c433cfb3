"""Retain text: what is kept of the base model there, and domains that take turns."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import simple_mlp

from rankone.core.errors import RankOneError
from rankone.edits.fitting.retain import RetainText
from rankone.text.blocks import Blocks


def test_domains_take_turns_row_by_row():
    def rows(*first: int, width: int = 3) -> Blocks:
        ids = torch.tensor([[0] + [n] * (width - 1) for n in first])
        return Blocks(ids, ids > 0)

    text = RetainText(simple_mlp(), {"en": rows(1, 2, 3), "fr": rows(7, width=2), "it": rows(8, 9)})
    assert text.ids.tolist() == [[0, 1, 1], [0, 7, 0], [0, 8, 8], [0, 2, 2], [0, 9, 9], [0, 3, 3]]
    assert text.present[1].tolist() == [True, True, False]
    assert text.rows(1, 4).tolist() == [4, 5, 0, 1]


def test_the_kept_text_of_the_last_two_kinds_of_edit_stays():
    ids = torch.tensor([[0, 1, 2]])
    text = RetainText(simple_mlp(), Blocks(ids, ids > 0))
    kinds = [[f"h.{i}.mlp.down_proj"] for i in (0, 1)] + [["h.0.attn.o_proj"]]
    first, second, third = (text.prepared(sites) for sites in kinds)
    assert text.prepared(kinds[2]) is third
    assert text.prepared(kinds[1]) is second
    assert text.prepared(kinds[0]) is not first


def test_what_sizes_are_measured_on_is_made_once_for_the_edits_of_the_same_sites():
    ids = torch.tensor([[0, 1, 2]])
    text = RetainText(simple_mlp(), Blocks(ids, ids > 0))
    site = ["h.0.mlp.down_proj"]
    held = text.held(site, "rise")
    assert text.held(tuple(site), "rise") is held
    assert text.held(site, "kl") is not held
    assert text.held(site, "kl").measure == "kl"


def test_an_empty_text_is_named():
    nothing = Blocks(torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 2, dtype=torch.bool))
    with pytest.raises(RankOneError, match="the retain text of 'fr' is empty"):
        RetainText(simple_mlp(), {"fr": nothing})
    with pytest.raises(RankOneError, match="no retain text is given"):
        RetainText(simple_mlp(), {})
