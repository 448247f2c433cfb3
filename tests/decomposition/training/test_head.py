"""A model's head held back: divergences and gradients of logits in pieces, on every family, and models it is no good for."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import TINY_VOCAB, target, trainer
from tests.decomposition.tiny import recipe as tiny_recipe
from tests.helpers import probe
from tests.models.families import FAMILIES
from torch import nn

from rankone.decomposition.objective.reconstruction import DIVERGENCES
from rankone.decomposition.training import head
from rankone.decomposition.training.head import Head, head_of, held_back
from rankone.models.output import output_of


def linear(bias):
    torch.manual_seed(0)
    return nn.Linear(6, 11, bias=bias).double().requires_grad_(False)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize(("bias", "size"), [(True, 4), (False, 100), (True, 5)])
def test_pieces_give_the_value_and_gradient_of_whole_logits(divergence, bias, size, monkeypatch):
    monkeypatch.setattr(head, "LEAST", size)
    monkeypatch.setattr(head, "CPU_LOGITS", 0)
    layer, weight = linear(bias), torch.rand(2, 5).double()
    clean, masked = torch.randn(2, 2, 5, 6).double()
    masked.requires_grad_()
    measure = DIVERGENCES[divergence]
    whole = measure(layer(clean), layer(masked))
    (expected,) = torch.autograd.grad((weight * whole).sum(), masked)
    found = Head(layer).divergence(measure, clean, masked)
    torch.testing.assert_close(found, whole.detach().to(found.dtype))
    (gradient,) = torch.autograd.grad((weight * found).sum(), masked)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)
    with torch.no_grad():
        assert not Head(layer).divergence(measure, clean, masked).requires_grad


def test_no_more_logits_than_asked_for_exist_at_once(monkeypatch):
    monkeypatch.setattr(head, "LEAST", 3)
    monkeypatch.setattr(head, "CPU_LOGITS", 0)
    seen = []

    def watched(clean, masked):
        seen.append(masked.shape)
        return DIVERGENCES["kl"](clean, masked)

    Head(linear(False)).divergence(watched, *torch.randn(2, 2, 4, 6).double())
    assert seen == [(1, 3, 11), (1, 3, 11), (1, 2, 11)]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_gives_its_hidden_states_or_is_left_alone(family):
    model, ids = FAMILIES[family][0](), probe()
    model.requires_grad_(False)
    before = output_of(model, ids)
    with held_back(model, [], lambda: ids) as found:
        given = output_of(model, ids)
        if found is None:
            assert torch.equal(given, before)
        else:
            assert given.shape == (*ids.shape, 24)
            assert torch.equal(model.get_output_embeddings().base(given), before)
    assert (found is None) == (family == "gemma2"), "only Gemma 2 caps its logits"
    assert torch.equal(output_of(model, ids), before)


def test_a_head_that_is_a_site_stays():
    model = target()
    assert head_of(model, []) == "lm_head"
    assert head_of(model, ["lm_head"]) is None
    assert head_of(nn.Linear(2, 2), []) is None


def test_a_model_that_changes_its_logits_keeps_them_whole(caplog):
    caplog.set_level("INFO", "rankone")
    model, ids = target().requires_grad_(False), torch.randint(TINY_VOCAB, (2, 5))
    forward = model.forward

    def scaled(*args, **kwargs):
        found = forward(*args, **kwargs)
        found.logits = 3 * found.logits + 1
        return found

    model.forward = scaled
    before = output_of(model, ids)
    with held_back(model, [], lambda: ids) as found:
        assert found is None
        assert torch.equal(output_of(model, ids), before)
    assert "more to its logits than unembed" in caplog.text


def test_the_model_gets_its_head_back_after_an_error():
    model = target()
    layer, ids = model.lm_head, torch.randint(TINY_VOCAB, (2, 5))
    with held_back(model, [], lambda: ids):
        assert model.lm_head is not layer

    def fails():
        with held_back(model, [], lambda: ids):
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert model.lm_head is layer


@pytest.mark.parametrize("form", ["merged", "separate"])
def test_steps_are_those_with_whole_logits(form, monkeypatch):
    """Losses and gradients over two steps, in pieces that cut rows."""
    monkeypatch.setattr(head, "LEAST", 5)
    monkeypatch.setattr(head, "CPU_LOGITS", 0)
    told, gradients = [], []
    for whole in (True, False):
        run = trainer(tiny_recipe(reconstruction__form=form, importance_clip=1e9))
        with run.model if whole else run.installed():
            assert (run.head is None) == whole
            told.append([run.step(step) for step in range(2)])
        assert run.head is None
        gradients.append({k: p.grad for k, p in run.decomposition.named_parameters()})
    for ours, expected in zip(told[1], told[0], strict=True):
        assert ours == pytest.approx(expected, rel=1e-4, abs=1e-9)
    for name, expected in gradients[0].items():
        scale = expected.abs().max().item()
        torch.testing.assert_close(gradients[1][name], expected, rtol=1e-3, atol=1e-4 * scale)
