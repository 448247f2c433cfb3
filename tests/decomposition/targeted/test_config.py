"""Targeted decomposition: which rows are narrow, delta on the broad ones, decay, start, and what is refused."""

from __future__ import annotations

import copy
import json
from functools import partial

import numpy as np
import pytest
import torch
from tests.decomposition.tiny import mask_of, recipe, target, token_rows, trainer
from tests.helpers import VOCAB, gpt2, laddered
from tests.helpers import tokenizer as small_tokenizer
from tests.tiny import rankone

from rankone.core.errors import RankOneError
from rankone.decomposition import run as run_module
from rankone.decomposition.init.principal import principal_factors
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.model import DecomposedModel
from rankone.decomposition.planning.estimate import step_memory
from rankone.decomposition.planning.size import run_size
from rankone.decomposition.run import decompose, evidence_text, training_rows
from rankone.decomposition.site import site_weight
from rankone.decomposition.targeted.batches import in_batches, streams
from rankone.decomposition.targeted.config import Targeted
from rankone.decomposition.targeted.decay import MEMORY, ImportanceDecay
from rankone.decomposition.targeted.evidence import DeltaOn
from rankone.decomposition.training.loop import train
from rankone.decomposition.training.state import state_of
from rankone.models.sites import find_sites
from rankone.subject import Subject
from rankone.text.sources.builtin import BuiltinCorpus

NARROW = {"mixture": {"de": {"weight": 1.0}}}
BASE = {"targeted": NARROW, "faithfulness": 0.0, "initialisation": "random", "subcomponents": {"*": 3}}


def targeted(**changes):
    return recipe(**copy.deepcopy(BASE) | changes)


def test_every_batch_holds_its_narrow_rows_first():
    narrow, broad = np.full((2, 3), 1) + np.arange(2)[:, None], np.full((5, 3), 10) + np.arange(5)[:, None]
    rows = in_batches(narrow, broad, steps=3, rows=3, count=1)
    assert rows[:, 0].tolist() == [1, 10, 11, 2, 12, 13, 1, 14, 10]  # both streams start again at their end
    ours, theirs = streams(rows, 3, 1)
    assert ours[:, 0].tolist() == [1, 2, 1]
    assert theirs[:, 0].tolist() == [10, 11, 12, 13, 14, 10]


@pytest.mark.parametrize(
    ("fraction", "rows", "expected"), [(0.5, 4, 2), (0.01, 4, 1), (0.99, 4, 3), (0.5, 2, 1), (0.75, 8, 6)]
)
def test_at_least_one_row_of_each_kind(fraction, rows, expected):
    assert Targeted(**NARROW, fraction=fraction).narrow_rows(rows) == expected


def test_the_rows_of_a_run_come_from_both_texts(tmp_path, monkeypatch):
    config, drawn = targeted(context=16, steps=2), []
    rows_of = run_module.mixture_rows

    def recorded(tokenizer, pieces, mixture, tokens, context, rng):
        drawn.append((list(mixture), rows_of(tokenizer, pieces, mixture, tokens, context, rng)))
        return drawn[-1][1]

    monkeypatch.setattr(run_module, "mixture_rows", recorded)
    subject = Subject(target(vocab_size=VOCAB), small_tokenizer(), BuiltinCorpus())
    rows = training_rows(config, subject, tmp_path, "hash")
    (first, narrow), (second, broad) = drawn
    assert (first, second) == (["de"], ["en"])
    assert np.array_equal(rows[[0, 1, 4]], narrow[[0, 1, 2 % len(narrow)]])
    assert np.array_equal(rows[2:4], broad[:2])


def masks_of(built, steps=1):
    """(delta, route) of the masked passes of some steps."""
    calls, masked = [], built.model.masked

    def recorded(ids, mask, delta, route, outputs):
        calls.append((mask_of(mask, delta), delta.detach(), route))
        return masked(ids, mask, delta, route, outputs)

    built.model.masked = recorded
    with built.model:
        for step in range(steps):
            built.step(step)
    return calls


@pytest.mark.parametrize("form", ["merged", "separate"])
@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_delta_is_on_in_broad_rows_and_drawn_or_attacked_in_narrow_ones(form, fraction):
    built = trainer(targeted(rows=6, reconstruction__form=form, adversary__fraction=fraction))
    for mask, delta, _ in masks_of(built, 2):
        assert (delta[3:] == 1).all()
        assert (delta[:3] < 1).any((1, 2)).all()
        assert (mask[3:] < 1).any()
    total, source = built.decomposition.total, built.adversary.source
    # Deltas of broad slots have no gradient: their sources never move.
    start = trainer(built.config).adversary.source
    assert torch.equal(source[3:, :, total:], start[3:, :, total:])
    moved = not torch.equal(source[:3, :, total:], start[:3, :, total:])
    assert moved == (form == "separate" or fraction == 1.0)


def test_with_all_masks_on_a_broad_row_is_the_target_and_a_narrow_one_is_not():
    model, config = target(), targeted()
    decomposition = new_decomposition(model, config).requires_grad_(False)
    ids = torch.from_numpy(token_rows(config, 2).astype(np.int64))
    ones = torch.ones(1, 1, decomposition.total)
    with DeltaOn(model, decomposition) as on, torch.no_grad():
        clean = on.clean(ids)[0]
        torch.testing.assert_close(on.masked(ids, ones), clean, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(on.masked(ids, 0 * ones), clean, atol=1e-3)
    with DecomposedModel(model, decomposition) as off, torch.no_grad():
        assert not torch.allclose(off.masked(ids, ones), clean, atol=1e-3)


def test_decay_by_hand():
    decomposition = new_decomposition(target(), targeted()).requires_grad_(False)
    read, write = (p.clone() for p in decomposition.factors("h.0.attn.k_proj"))
    decay = ImportanceDecay(0.5, decomposition, torch.device("cpu"))
    logits = torch.full((2, 3, decomposition.total), -1.0)
    at = decomposition.sites.index("h.0.attn.k_proj") * 3
    logits[1, 2, at], logits[0, 0, at + 1] = 4.0, 0.25
    decay.highest.fill_(0.1)
    decay(logits.amax((0, 1)), rate=0.2)
    # Highest importance 1, .25 and .1 · .99; each factor keeps 1 − .2 · .5 · (1 − g).
    keep = torch.tensor([1.0, 1 - 0.1 * 0.75, 1 - 0.1 * (1 - 0.1 * MEMORY)])
    after_read, after_write = decomposition.factors("h.0.attn.k_proj")
    torch.testing.assert_close(after_read.detach(), read * keep)
    torch.testing.assert_close(after_write.detach(), write * keep[:, None])
    assert decay.highest[at].item() == 1


def test_what_is_important_nowhere_fades():
    still = {"start": 0.1}
    built = trainer(targeted(steps=4, targeted__importance_decay=2.0, learning_rate=still, clip=1e-9))
    with torch.no_grad():
        built.decay.highest.zero_()
        for parameter in built.decomposition.importance.parameters():
            parameter.zero_()
    before = [p.detach().norm().item() for p in built.factors]
    with built.model:
        built.optimizer.step = lambda: None
        for step in range(4):
            built.step(step)
    after = [p.detach().norm().item() for p in built.factors]
    assert after == pytest.approx([b * 0.8**4 for b in before], rel=1e-4)


def test_a_cut_run_goes_on_to_the_bit(tmp_path):
    config = targeted(targeted__importance_decay=5.0)
    whole, first, second = trainer(config), trainer(config), trainer(config)
    assert train(whole, tmp_path / "whole", "hash", log_every=1)
    assert not train(first, tmp_path / "cut", "hash", stop_after=3, log_every=1)
    assert train(second, tmp_path / "cut", "hash", log_every=1)
    a, b = state_of(whole, 0).tensors, state_of(second, 0).tensors
    assert a.keys() == b.keys()
    assert "decay.highest" in a
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_metrics_tell_both_streams_and_no_delta_is_formed(monkeypatch):
    built = trainer(targeted())
    assert built.weights == []
    monkeypatch.setattr(built, "faithfulness_loss", lambda dtype: pytest.fail("V U was formed"))
    with built.model:
        found = built.step(0)
    assert "faithfulness" not in found
    assert found["kl_narrow"] > 0
    assert found["kl_broad"] > 0


def principal(model, count, contrast, narrow, broad):
    sites = find_sites(model, None)
    return principal_factors(model, sites, [count] * len(sites), narrow, broad, contrast), sites


@pytest.mark.parametrize("contrast", [0.0, 0.7])
@pytest.mark.parametrize("make", [target, gpt2])
def test_a_principal_start_projects_on_the_largest_directions_of_the_outputs(make, contrast):
    """Against second moments of the outputs themselves, for matrices of either shape and either layout."""
    model, rng = make().eval(), np.random.default_rng(0)
    narrow, broad = rng.integers(0, 12, (40, 7)), rng.integers(8, 30, (40, 7))
    found, sites = principal(model, 3, contrast, narrow, broad)
    for site in sites:
        weight = site_weight(site)
        moment = 0.0
        for rows, share in ((narrow, 1.0), (broad, -contrast)):
            seen = []
            hook = site.module.register_forward_hook(lambda m, given, out, seen=seen: seen.append(given[0]))
            with torch.no_grad():
                model(torch.from_numpy(rows))
            hook.remove()
            y = seen[0].flatten(0, -2) @ weight.T
            moment = moment + share * (y.T @ y) / len(y)
        top = torch.linalg.eigh(moment.double()).eigenvectors[:, -3:].float()
        read, write = found[site.name]
        torch.testing.assert_close((read @ write).T, top @ (top.T @ weight), rtol=2e-2, atol=2e-3)
        torch.testing.assert_close(read.norm(dim=0), write.norm(dim=1), rtol=1e-3, atol=1e-5)


def test_a_principal_start_at_full_rank_is_the_whole_matrix():
    model, rows = target(), np.random.default_rng(1).integers(0, 30, (60, 7))
    found, sites = principal(model, 8, 0.0, rows, rows)
    for site in sites:
        read, write = found[site.name]
        torch.testing.assert_close((read @ write).T, site_weight(site), rtol=1e-3, atol=1e-4)


def test_a_principal_start_beyond_the_rank_is_refused():
    rows = np.zeros((2, 7), dtype=np.int64)
    with pytest.raises(RankOneError, match=r"at most 8 directions in '.*', but C = 9"):
        principal(target(), 9, 0.0, rows, rows)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"faithfulness": 1e5}, r"set faithfulness \(now 100000\)"),
        ({"warmup_steps": 3}, r"warmup_steps \(now 3\) to 0"),
        ({"initialisation": "aligned"}, "initialisation aligned puts the whole matrix"),
        ({"rows": 1}, "rows is 1"),
        ({"targeted.contrast": 0.5}, r"targeted\.contrast changes nothing"),
        ({"targeted.mixture": {}}, r"targeted\.mixture"),
        ({"targeted.fraction": 1.0}, r"targeted\.fraction"),
        ({"targeted.importance_decay": -0.1}, r"importance_decay"),
        ({"targeted": None, "initialisation": "principal"}, "goes with `targeted` alone"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        recipe(**copy.deepcopy(BASE) | changes)


def test_the_estimate_leaves_out_what_is_not_held():
    config = targeted()
    size = run_size(target(), config)
    held = step_memory(size, config)
    assert held["deltas (faithfulness)"] == 0
    full = step_memory(size, recipe(subcomponents={"*": 3}, initialisation="random"))
    assert full["deltas (faithfulness)"] == 8 * size.weights
    built = trainer(config)
    with built.model:
        built.step(0)
    state = sum(v.numel() * 4 for s in built.optimizer.state.values() for v in s.values() if v.ndim)
    own = sum(p.numel() * 8 for p in built.decomposition.parameters())
    assert held["U and V with optimiser"] + held["importance function with optimiser"] == state + own


def test_a_whole_run_has_account_on_both_streams(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "evidence_text", partial(evidence_text, tokens=40))
    monkeypatch.setattr(run_module, "account_on", laddered(run_module.account_on, (1, 2)))
    config, out = (
        targeted(steps=2, context=16, initialisation="principal", targeted__contrast=0.5),
        tmp_path / "out",
    )
    model, tokenizer = target(vocab_size=VOCAB), small_tokenizer()
    assert decompose(config, Subject(model, tokenizer, BuiltinCorpus()), tmp_path / "run", out) == out
    evidence = json.loads((out / "evidence.json").read_text("utf8"))
    narrow, broad = evidence["rows"], evidence["broad"]["rows"]
    assert {row["delta"] for row in narrow} == {None, False, True}
    assert {row["delta"] for row in broad} == {None, True}
    unmasked = {
        name: next(r for r in rows if r["masking"] == "unmasked")
        for name, rows in (("narrow", narrow), ("broad", broad))
    }
    assert unmasked["broad"]["kl"] == pytest.approx(0, abs=1e-5)
    assert unmasked["narrow"]["kl"] > 1e-3
    assert [(r["masking"], r["steps"]) for r in broad[-2:]] == [("adversarial", 1), ("adversarial", 2)]
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(run_module, "account_on", run_module.account_on.func)
    shown = rankone("evidence", out, "--model", tmp_path / "model", "--steps", 1)
    assert shown.code == 0, shown.err
    assert "broad text with delta always on" in shown.out
