"""The scanner: what an edit does to each text, in the order asked for, ending where it is told to."""

from __future__ import annotations

import torch
from tests.helpers import probe, random_edit, same, simple_mlp, snapshot

from rankone.edits.finding.scanner import scanning
from rankone.text.blocks import Blocks


def text():
    rows = [probe(3, 9), probe(2, 7), probe(4, 5)]
    return {
        d: Blocks(ids, torch.ones_like(ids, dtype=torch.bool)) for d, ids in zip("abc", rows, strict=True)
    }


def test_it_ends_where_it_is_told_to_and_puts_the_weights_back():
    model = simple_mlp()
    before, edit = snapshot(model), random_edit(model, {"h.1.mlp.*": 1}, size=0.3)
    with scanning(model, text(), edit.sites) as scanner:
        whole = scanner.damage(edit)
        asked = []
        part = scanner.damage(edit, ["c", "a"], lambda d, _: bool(asked.append(d)) or d == "a")
    assert list(whole) == ["a", "b", "c"]
    assert list(part) == asked == ["c", "a"]
    assert all(part[d] == whole[d] for d in part)
    assert same(model, before)
