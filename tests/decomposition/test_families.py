"""Every architecture family, tiny and random: the wrap, exact factors, late start and edits on it."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import probe, random_edit
from tests.models.families import FAMILIES, LAYERS, sites_of
from torch import nn

from rankone.decomposition.check import check_wrap
from rankone.decomposition.masking.masking import Masking, MaskingInForce, SiteMask
from rankone.decomposition.model import DecomposedModel
from rankone.decomposition.site import installed
from rankone.models.blocks import blocks_of
from rankone.models.sites import find_sites, left_out

every = pytest.mark.parametrize("family", list(FAMILIES))


def built(family):
    return FAMILIES[family][0]()


def logits_of(model, ids):
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


@every
def test_the_sites_are_the_expected_matrices(family):
    model = built(family)
    assert {s.name: (s.d_out, s.d_in) for s in find_sites(model)} == sites_of(family)
    assert any("expert" in name for name in left_out(model)) == any(k in family for k in ("moe", "mixtral"))


@every
def test_the_untouched_wrap_has_logits_equal_to_the_bit(family):
    model, ids = built(family), probe()
    clean = logits_of(model, ids)
    sites = find_sites(model)
    check_wrap(model, sites)
    factors = {
        s.name: (nn.Parameter(torch.randn(s.d_in, 3)), nn.Parameter(torch.randn(3, s.d_out))) for s in sites
    }
    in_force = MaskingInForce()
    with installed(model, factors, in_force) as placed:
        assert torch.equal(logits_of(model, ids), clean)
        for name in placed:
            with in_force.put(Masking(tuple(ids.shape), {name: SiteMask(torch.zeros(3))})):
                assert not torch.equal(logits_of(model, ids), clean), name
    assert torch.equal(logits_of(model, ids), clean)


@every
def test_exact_factors_with_all_masks_on_are_the_target(family):
    model, ids = built(family), probe()
    decomposition = decomposed(model)
    with DecomposedModel(model, decomposition) as wrapped:
        clean, inputs = wrapped.clean(ids)
        ones = torch.ones(1, 1, decomposition.total)
        with torch.no_grad():
            torch.testing.assert_close(wrapped.masked(ids, ones), clean, rtol=1e-3, atol=1e-3)
    assert torch.equal(clean, logits_of(model, ids))
    assert [tuple(x.shape) for x in inputs] == [(*ids.shape, s.d_in) for s in find_sites(model)]


@every
@pytest.mark.parametrize("first", [1, LAYERS - 1])
def test_a_late_start_equals_the_whole_forward_to_the_bit(family, first):
    model, ids = built(family), probe()
    names = [s.name for s in find_sites(model) if first <= blocks_of(model, [s.name]).first]
    decomposition = decomposed(model, sites=names)
    mask = torch.rand(*ids.shape, decomposition.total)
    delta = torch.rand(*ids.shape, len(names))
    modules = dict(model.named_modules())
    with DecomposedModel(model, decomposition) as wrapped, torch.no_grad():
        whole = wrapped.masked(ids, mask, delta)
        ran = []
        blocks = [m for m in model.modules() if type(m).__name__ == "PrefixBlock"]
        hooks = [b.base.register_forward_pre_hook(lambda *_: ran.append(1)) for b in blocks]
        assert torch.equal(wrapped.clean(ids)[0], logits_of(model, ids))
        ran.clear()
        assert torch.equal(wrapped.masked(ids, mask, delta), whole)
        assert len(blocks) == first
        assert ran == []
        other = probe(seed=1)
        assert torch.equal(wrapped.masked(other, mask, delta), wrapped.masked(other.clone(), mask, delta))
        assert len(ran) == first
        assert torch.equal(wrapped.masked(ids, mask, delta), whole)
        for hook in hooks:
            hook.remove()
    assert dict(model.named_modules()) == modules


@every
def test_an_edit_applied_and_merged_is_the_same(family):
    model, ids = built(family), probe()
    before = logits_of(model, ids)
    edit = random_edit(model, {"*": 2})
    with edit.applied(model):
        applied = logits_of(model, ids)
    assert not torch.equal(applied, before)
    assert torch.equal(logits_of(model, ids), before)
    assert torch.equal(logits_of(edit.merge(model).model, ids), applied)
