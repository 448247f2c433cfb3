"""Late start where it does not apply or would be wrong; that it is exact on every family is in test_families.py."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import llama, probe, simple_mlp

from rankone.decomposition.model import DecomposedModel
from rankone.decomposition.prefix import PrefixBlock, late_start
from rankone.decomposition.training.trainer import Trainer


def stand_ins(model):
    return [m for m in model.modules() if isinstance(m, PrefixBlock)]


@pytest.mark.parametrize("sites", [["h.0.mlp.c_fc", "h.1.mlp.c_fc"], ["h.0.attn.q_proj"]])
def test_nothing_is_replaced_when_the_first_block_has_a_site(sites):
    model = simple_mlp()
    with late_start(model, sites) as prefix:
        assert prefix.blocks == 0
        assert stand_ins(model) == []


def test_a_stand_in_answers_for_its_block():
    model = llama()
    model.model.layers[0].attention_type = "full_attention"
    with late_start(model, ["model.layers.1.mlp.up_proj"]):
        (block,) = stand_ins(model)
        assert block.attention_type == "full_attention"
        assert block is model.model.layers[0]
        with pytest.raises(AttributeError):
            _ = block.nonsense
    assert stand_ins(model) == []


def test_a_model_that_passes_on_more_than_hidden_states_falls_back(caplog):
    caplog.set_level("INFO", "rankone")
    """Its first block leaves a note that its second one reads: replaying hidden states alone would lose it."""
    model, ids = llama(), probe()
    first, second = model.model.layers
    plain = {layer: layer.forward for layer in (first, second)}
    note = {}

    def leave(x, **more):
        note["calls"] = note.get("calls", 0) + 1
        note["value"] = x.mean()
        return plain[first](x, **more)

    def read(x, **more):
        return plain[second](x, **more) + note.pop("value", 0.0)

    first.forward, second.forward = leave, read
    decomposition = decomposed(model, sites=["model.layers.1.*"])
    mask = torch.rand(*ids.shape, decomposition.total)
    with torch.no_grad():
        clean = model(input_ids=ids, use_cache=False).logits
        with DecomposedModel(model, decomposition) as wrapped:
            expected = wrapped.masked(ids, mask)
            assert torch.equal(wrapped.clean(ids)[0], clean)
            assert "late start is off" in caplog.text
            note["calls"] = 0
            assert torch.equal(wrapped.masked(ids, mask), expected)
            assert note["calls"] == 1


def test_ids_changed_in_place_are_not_mistaken_for_the_kept_ones():
    model, ids = simple_mlp(), probe()
    decomposition = decomposed(model, sites=["h.1.*"])
    mask = torch.rand(*ids.shape, decomposition.total)
    with DecomposedModel(model, decomposition) as wrapped, torch.no_grad():
        wrapped.clean(ids)
        before = wrapped.masked(ids, mask)
        ids[:, 0] = (ids[:, 0] + 1) % 300
        after = wrapped.masked(ids, mask)
        assert not torch.equal(before, after)
        assert torch.equal(after, wrapped.masked(ids.clone(), mask))


def test_gradients_of_a_late_start_are_those_of_the_whole_forward():
    model, ids = simple_mlp().requires_grad_(False), probe()
    decomposition = decomposed(model, sites=["h.1.*"]).requires_grad_(True)
    mask = torch.rand(*ids.shape, decomposition.total)
    factors = [*decomposition.V.values(), *decomposition.U.values()]
    with DecomposedModel(model, decomposition) as wrapped:
        whole = torch.autograd.grad(wrapped.masked(ids, mask).square().sum(), factors)
        wrapped.clean(ids)
        late = torch.autograd.grad(wrapped.masked(ids, mask).square().sum(), factors)
    for one, other in zip(whole, late, strict=True):
        assert torch.equal(one, other)


def test_more_batches_can_be_kept():
    model = simple_mlp()
    decomposition = decomposed(model, sites=["h.1.*"])
    batches = [probe(seed=s) for s in range(3)]
    mask = torch.rand(*batches[0].shape, decomposition.total)
    with DecomposedModel(model, decomposition, kept=2) as wrapped, torch.no_grad():
        ran = []
        (block,) = stand_ins(model)
        block.base.register_forward_pre_hook(lambda *_: ran.append(1))
        for ids in batches:
            wrapped.clean(ids)
        ran.clear()
        wrapped.masked(batches[1].clone(), mask)
        wrapped.masked(batches[2], mask)
        assert ran == []
        wrapped.masked(batches[0], mask)
        assert ran == [1]


def test_a_trainer_on_late_sites_steps_as_without_a_late_start(monkeypatch):
    from tests.decomposition.tiny import TINY_VOCAB, recipe, token_rows

    from rankone.decomposition import model as room
    from rankone.decomposition.init.start import new_decomposition

    def run():
        torch.manual_seed(0)
        config = recipe(sites=["h.1.*"])
        target = simple_mlp(vocab_size=TINY_VOCAB)
        trainer = Trainer(target, new_decomposition(target, config), token_rows(config), config)
        with trainer.installed():
            return [trainer.step(s) for s in range(2)]

    late = run()
    monkeypatch.setattr(room, "late_start", lambda target, sites, kept: late_start(target, ["h.0.x"], kept))
    assert run() == late
