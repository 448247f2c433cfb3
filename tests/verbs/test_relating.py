"""Pairs of query and key parts on a prompt, as the verb says them."""

from __future__ import annotations

import pytest

import rankone as ro


def test_pairs_on_a_prompt_are_read_off_one_row_of_tokens():
    s = ro.open("mini")
    said = s.qk(0, prompt="der Haж", top=60)
    ids = s.tokenizer("der Haж")["input_ids"]
    spelled = [s.tokenizer.decode([i]) for i in ids[:-2]] + ["<0xD0>", "<0xB6>"]
    assert {row.where for row in said.rows} <= set(range(len(ids)))
    assert all(row.token == spelled[row.where] for row in said.rows)
    assert {row.token for row in said.rows} & {"<0xD0>", "<0xB6>"}
    assert said.explained == pytest.approx(1, abs=0.5)
