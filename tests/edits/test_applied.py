"""Edits in place are transactions: rolled back on every failure, one thread at a time, nothing newer overwritten."""

from __future__ import annotations

import copy
import sys
import threading

import pytest
import torch
from tests.helpers import probe, random_edit, same, simple_mlp, snapshot
from torch import nn

from rankone.core.errors import RankOneError
from rankone.edits.lowrank import LowRankEdit, applied, refuse_applied

FIRST, SECOND = "h.0.mlp.c_fc", "h.1.mlp.c_fc"


def edit_of_both(model) -> LowRankEdit:
    return random_edit(model, {FIRST: 1, SECOND: 1})


def test_a_weight_that_cannot_be_written_leaves_the_model_as_it_was():
    model = simple_mlp()
    model.get_submodule(SECOND).weight = nn.Parameter(torch.ones(1, 24).expand(40, 24))
    before, edit = snapshot(model), edit_of_both(model)
    with pytest.raises(RankOneError, match=r"'h\.1\.mlp\.c_fc' cannot be written.*weight of its own"):
        edit.apply(model)
    assert same(model, before)
    with pytest.raises(RankOneError, match="not applied"):
        edit.remove(model)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("after", [0, 1])
def test_an_interrupt_half_way_is_rolled_back(monkeypatch, stop, after):
    model = simple_mlp()
    before, edit, written = snapshot(model), edit_of_both(model), []
    real = applied._write

    def interrupted(site, value):
        real(site, value)
        written.append(site.name)
        if len(written) > after:
            raise stop

    monkeypatch.setattr(applied, "_write", interrupted)
    with pytest.raises(stop):
        edit.apply(model)
    assert len(written) == after + 1
    assert same(model, before)
    with pytest.raises(RankOneError, match="not applied"):
        edit.remove(model)


def test_an_interrupt_while_it_is_removed_ends_with_it_removed(monkeypatch):
    model = simple_mlp()
    before, edit = snapshot(model), edit_of_both(model)
    edit.apply(model)
    real, calls = applied._put_back, []

    def interrupted(sites, old):
        if not calls:
            calls.append(real(dict(list(sites.items())[:1]), old))
            raise KeyboardInterrupt
        real(sites, old)

    monkeypatch.setattr(applied, "_put_back", interrupted)
    with pytest.raises(KeyboardInterrupt):
        edit.remove(model)
    assert same(model, before)
    with pytest.raises(RankOneError, match="not applied"):
        edit.remove(model)


def interrupted_at(number, block):
    """Run a block, with an interrupt at a call of this package's functions; whether there were so many."""
    calls = 0

    def trace(frame, event, _):
        nonlocal calls
        if event == "call" and "/rankone/" in frame.f_code.co_filename:
            calls += 1
            if calls == number:
                raise KeyboardInterrupt

    sys.settrace(trace)
    try:
        block()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return calls >= number


def test_an_interrupt_anywhere_on_the_way_in_or_out_leaves_no_edit_on():
    """It came at any call: most of the way out is comparing weights, and there the edit stayed on."""
    model = simple_mlp()
    before, edit = snapshot(model), edit_of_both(model)

    def block():
        with edit.applied(model):
            pass

    number = 1
    while interrupted_at(number, block):
        assert same(model, before), number
        refuse_applied(model)
        number += 1
    assert number > 20
    assert same(model, before)


class Wrapper(nn.Module):
    """As torch.compile and PEFT have it: another module around the same model."""

    def __init__(self, model):
        super().__init__()
        self.inner = model


def test_an_edit_applied_to_a_part_of_a_model_or_around_it_is_seen():
    """The record was looked up by the module that was given: an edit of the inner model was merged into the whole unseen."""
    model, other = simple_mlp(), simple_mlp()
    whole, edit = Wrapper(model), edit_of_both(model)
    around = LowRankEdit({f"inner.{name}": pair for name, pair in edit.factors.items()})
    for holder, held in ((model, edit), (whole, around)):
        with held.applied(holder):
            refuse_applied(other)
            for seen in (model, whole, model.get_submodule(SECOND)):
                with pytest.raises(RankOneError, match="is applied to this model"):
                    refuse_applied(seen)
        refuse_applied(whole)


def load(model, other):
    model.load_state_dict(other.state_dict())


def set_data(model, other):
    model.get_submodule(SECOND).weight.data.copy_(other.get_submodule(SECOND).weight.data)


def one_entry(model, _other):
    model.get_submodule(SECOND).weight.data[7, 3] += 1e-3


@pytest.mark.parametrize("change", [load, set_data, one_entry])
def test_weights_loaded_since_are_not_overwritten(change):
    model, edit = simple_mlp(), edit_of_both(simple_mlp())
    before = snapshot(model)
    edit.apply(model)
    change(model, simple_mlp(seed=3))
    now = snapshot(model)
    with pytest.raises(RankOneError, match=r"'h\..\.mlp\.c_fc' .* was changed since edit .*changed='keep'"):
        edit.remove(model)
    assert same(model, now)
    kept = copy.deepcopy(model)
    edit.remove(model, changed="keep")
    assert same(model, now)
    edit.apply(kept)
    edit.remove(kept)
    assert same(kept, now)
    again = simple_mlp()
    edit.apply(again)
    change(again, simple_mlp(seed=3))
    edit.remove(again, changed="restore")
    assert all(torch.equal(again.get_parameter(f"{s}.weight"), before[f"{s}.weight"]) for s in edit.sites)


def test_rows_that_changed_places_are_noticed():
    model, edit = simple_mlp(), edit_of_both(simple_mlp())
    edit.apply(model)
    weight = model.get_submodule(FIRST).weight.data
    weight.copy_(weight.flip(0))
    with pytest.raises(RankOneError, match="was changed since"):
        edit.remove(model)


def test_two_threads_take_turns():
    """Each sees its own edit alone, as often as they try; the weights are back at the end."""
    model = simple_mlp()
    before = snapshot(model)
    edits = [random_edit(model, {FIRST: 1}, seed=seed) for seed in (0, 1)]
    expected = []
    for edit in edits:
        with edit.applied(model), torch.no_grad():
            expected.append(model(probe()).logits)
    wrong: list[str] = []

    def work(own: int) -> None:
        for _ in range(20):
            with edits[own].applied(model), torch.no_grad():
                if not torch.equal(model(probe()).logits, expected[own]):
                    wrong.append("sees the other edit")

    threads = [threading.Thread(target=work, args=(own,)) for own in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert same(model, before)


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_site_that_is_gone_leaves_a_way_out(how):
    """With `keep` nothing is put back, and so nothing need be there."""
    model = simple_mlp()
    edit = edit_of_both(model)
    edit.apply(model)
    if how == "removed":
        del model.h[1]
    else:
        model.get_submodule("h.1.mlp").c_fc = nn.Sequential(nn.Linear(24, 40))
    for changed in ("refuse", "restore"):
        with pytest.raises(
            RankOneError, match=r"was removed or replaced since .* with changed='keep' to leave"
        ):
            edit.remove(model, changed)
    left = snapshot(model)
    edit.remove(model, "keep")
    assert same(model, left)
    with pytest.raises(RankOneError, match="not applied"):
        edit.remove(model, "keep")


def test_a_compiled_wrapper_is_named():
    model = simple_mlp()
    edit = edit_of_both(model)
    with pytest.raises(
        RankOneError, match=r"torch.compile's wrapper of SimpleMLPForCausalLM: give the model itself"
    ):
        edit.apply(torch.compile(model))
