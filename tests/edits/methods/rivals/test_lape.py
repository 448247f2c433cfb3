"""Language neurons by hand, and their taking out."""

from __future__ import annotations

import torch
from tests.helpers import probe, simple_mlp

from rankone.edits.methods.rivals.lape import firing_shares, language_neurons
from rankone.models.sites import site_named
from rankone.text.blocks import Blocks


def test_the_neuron_of_one_language_by_hand():
    """Of eight neurons one fires for German alone, one for all, one for French; the rest hardly ever."""
    german = torch.tensor([0.9, 0.9, 0.0, *[0.01] * 5])
    others = torch.tensor([0.0, 0.9, 0.9, *[0.01] * 5])
    shares = {"de": german, "fr": others, "en": torch.tensor([0.0, 0.9, 0.0, *[0.01] * 5])}
    assert language_neurons(shares, "de", share=0.25) == [0]
    assert language_neurons(shares, "fr", share=0.25) == [2]
    assert language_neurons(shares, "en", share=0.25) == []


def test_what_hardly_ever_fires_is_not_specific():
    shares = {"de": torch.tensor([0.001, *[0.5] * 19]), "en": torch.tensor([0.0, *[0.5] * 19])}
    assert 0 not in language_neurons(shares, "de", share=1.0)


def test_shares_are_counted_at_real_positions():
    model = simple_mlp()
    site = site_named(model, "h.1.mlp.down_proj")
    ids = probe(3, 8)
    valid = torch.ones_like(ids, dtype=torch.bool)
    valid[:, 0] = False
    valid[1, 5:] = False
    seen = []
    handle = site.module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        model(ids)
    handle.remove()
    kept = torch.cat([seen[0][0], seen[0][1, :5], seen[0][2]])
    found = firing_shares(model, [site], Blocks(ids, valid))[site.name]
    torch.testing.assert_close(found, (kept > 0).double().mean(0))
