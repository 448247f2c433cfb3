"""What holds of every edit, drawn by hypothesis: its sizes, its model, its dtype, its order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import gpt2, llama, probe, random_edit, same, simple_mlp, snapshot

from rankone.edits.adapter_files import write_adapter
from rankone.edits.adapter_reading import read_adapter
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.verification import logits_of
from rankone.models.sites import find_sites

# Pattern of sites that each model has.
BUILDERS = {simple_mlp: "h.*", gpt2: "transformer.h.*", llama: "model.layers.*"}
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
# Largest |Δlogit| of logits of size 10 that one rounding of the weights may make.
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 0.4, torch.float16: 0.05}
FEW = settings(max_examples=25, deadline=None)


@st.composite
def models(draw, dtypes=DTYPES):
    build = draw(st.sampled_from(list(BUILDERS)))
    dtype = draw(st.sampled_from(dtypes))
    return build(seed=draw(st.integers(0, 3))).to(dtype)


@st.composite
def edits(draw, model):
    """An edit of one to all sites, rank 0 to 4, from tiny to large."""
    names = [site.name for site in find_sites(model)]
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=len(names), unique=True))
    ranks = {name: draw(st.integers(0, 4)) for name in chosen}
    return random_edit(
        model, ranks, draw(st.integers(0, 99)), draw(st.sampled_from((0.0, 1e-6, 0.01, 0.1, 1.0)))
    )


@FEW
@given(st.data())
def test_what_is_applied_is_removed_to_the_bit(data):
    model = data.draw(models())
    before = snapshot(model)
    stack = [data.draw(edits(model)) for _ in range(data.draw(st.integers(1, 3)))]
    for edit in stack:
        edit.apply(model)
    for edit in reversed(stack):
        edit.remove(model)
    assert same(model, before)


@FEW
@given(st.data())
def test_merged_equals_applied_to_the_bit_in_every_dtype(data):
    model = data.draw(models())
    edit = data.draw(edits(model))
    merged = edit.merge(model).model
    with edit.applied(model):
        applied = snapshot(model)
        assert torch.equal(logits_of(merged, probe()), logits_of(model, probe()))
    assert same(merged, applied)


@FEW
@given(st.data())
def test_merged_in_another_dtype_is_within_its_rounding(data):
    model = data.draw(models((torch.float32,)))
    edit = data.draw(edits(model)).scale(0.1)
    dtype = data.draw(st.sampled_from((torch.bfloat16, torch.float16)))
    merged = edit.merge(model, dtype).model.float()
    with edit.applied(model):
        wanted = logits_of(model, probe())
    scale = max(1.0, float(wanted.abs().max()) / 10)
    assert float((logits_of(merged, probe()) - wanted).abs().max()) <= ROUNDING[dtype] * scale


@FEW
@given(st.data())
def test_adding_commutes_and_inverting_undoes(data):
    model = data.draw(models((torch.float64,)))
    first, second = data.draw(edits(model)), data.draw(edits(model))
    both = [
        logits_of((one + other).merge(model).model, probe())
        for one, other in ((first, second), (second, first))
    ]
    assert float((both[0] - both[1]).abs().max()) <= 1e-5 * max(1.0, float(both[0].abs().max()))
    nothing = (first + first.invert()).merge(model).model
    for name, parameter in nothing.named_parameters():
        assert torch.allclose(parameter, model.get_parameter(name), rtol=0, atol=1e-12)


@FEW
@given(st.data())
def test_a_saved_edit_and_an_adapter_hold_the_same_factors(data):
    model = data.draw(models((torch.float32, torch.bfloat16)))
    edit = data.draw(edits(model)).bind(model)
    with tempfile.TemporaryDirectory() as folder:
        edit.save_pretrained(Path(folder) / "edit")
        again = LowRankEdit.from_pretrained(Path(folder) / "edit")
        again.check_base(model)
        assert again.base == edit.base
        _same_factors(again.factors, edit.factors)
        changing = {name: pair for name, pair in edit.factors.items() if pair.write.shape[1]}
        if changing:
            write_adapter(model, edit.factors, Path(folder), "base")
            _same_factors(read_adapter(Path(folder)), changing)


def _same_factors(some, others):
    assert some.keys() == others.keys()
    for name, pair in some.items():
        assert torch.equal(pair.write, others[name].write)
        assert torch.equal(pair.read, others[name].read)
