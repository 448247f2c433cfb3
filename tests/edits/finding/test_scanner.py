"""The scanner: what an edit does to each text, in the order asked for, ending where it is told to."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import llama, probe, random_edit, same, simple_mlp, snapshot

from rankone.edits.finding.scanner import Clean, scanning
from rankone.metrics.cross_entropy import text_losses
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


def padded():
    """Rows of several lengths, right-padded, of which the first token and the padding are not scored."""
    made = {}
    for domain, blocks in text().items():
        valid = blocks.valid.clone()
        valid[:, 0], valid[-1, 3:] = False, False
        made[domain] = Blocks(blocks.ids, valid)
    return made


@pytest.mark.parametrize("make", [simple_mlp, lambda: llama(layers=3)])
def test_losses_of_scored_positions_are_those_of_whole_logits(make):
    model, rows = make(), padded()
    sites = [name for name, m in model.named_modules() if name.endswith("down_proj")]
    edit, before = random_edit(model, {sites[-1]: 1}, size=0.3), text_losses(model, rows)
    with edit.applied(model):
        after = text_losses(model, rows)
    with scanning(model, rows, sites) as scanner, scanner.later(edit.sites) as late:
        found = late.damage(edit)
        whole = scanner.damage(edit)
    for domain, damage in found.items():
        assert damage.base == pytest.approx(before[domain].mean, abs=1e-6)
        assert damage.edited == pytest.approx(after[domain].mean, abs=1e-6)
        assert whole[domain].rise == pytest.approx(damage.rise, abs=1e-6)


def test_what_scanners_share_is_computed_once():
    """The clean text, whole, by the first scanner alone; a later one begins at its own block."""
    model, rows, clean = simple_mlp(num_hidden_layers=4), padded(), Clean()
    sites = [f"h.{i}.mlp.down_proj" for i in (1, 3)]
    edit, runs = random_edit(model, {sites[1]: 1}, size=0.3), []
    blocks = [model.get_submodule(f"h.{i}") for i in (0, 2)]
    for number, block in enumerate(blocks):
        block.register_forward_hook(lambda *_, number=number: runs.append(number))
    with scanning(model, rows, sites, clean) as scanner, scanner.later([sites[1]]) as late:
        first = late.damage(edit)
    once = runs.count(0)
    with scanning(model, rows, sites, clean) as again:
        runs.clear()
        with again.later([sites[1]]) as late:
            assert runs.count(1) >= len(rows)
            runs.clear()
            assert late.damage(edit) == first
    assert runs == []
    assert once >= len(rows)
    with scanning(model, {**rows, "d": rows["a"]}, sites, clean) as more:
        assert more.base["d"] is more.base["a"]
