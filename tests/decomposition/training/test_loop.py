"""Runs: a cut one goes on to the bit, one whose losses are not finite stops, names the site, and keeps its checkpoint."""

from __future__ import annotations

import json
import math

import pytest
import torch
from tests.decomposition.tiny import recipe, trainer

from rankone.core.errors import RankOneError
from rankone.decomposition.training import step as module
from rankone.decomposition.training.loop import train
from rankone.decomposition.training.state import put_state, state_of
from rankone.runtime.checkpoint import load_checkpoint


def metrics(run):
    """Rows of metrics.jsonl without their clock."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf8").splitlines()]
    return [{k: v for k, v in row.items() if k != "it/s"} for row in rows]


def same_state(first, second):
    a, b = state_of(first, 0).tensors, state_of(second, 0).tensors
    assert a.keys() == b.keys()
    return [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.parametrize(
    ("form", "scope"), [("merged", "bc"), ("merged", "c"), ("separate", "bsc"), ("separate", "sc")]
)
def test_a_cut_run_goes_on_to_the_bit(tmp_path, form, scope):
    config = recipe(reconstruction__form=form, adversary__scope=scope)
    whole, first, second = trainer(config), trainer(config), trainer(config)
    assert train(whole, tmp_path / "whole", "hash", log_every=1)
    assert not train(first, tmp_path / "cut", "hash", stop_after=3, log_every=1)
    torch.manual_seed(99)  # nothing may hang on the global generator
    assert train(second, tmp_path / "cut", "hash", log_every=1)
    assert same_state(whole, second)
    assert not same_state(whole, first)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "cut")
    assert [row["step"] for row in metrics(tmp_path / "cut")] == list(range(6))


def test_under_autocast_every_step_runs_on_the_factors_of_the_one_before():
    """Sites keep copies of their factors in bf16; a trainer that starts from the same state has none yet."""
    config = recipe(autocast=True, learning_rate={"start": 0.1})
    first, second = trainer(config), trainer(config)
    with first.installed(), second.installed():
        first.step(0)
        put_state(second, state_of(first, 1))
        assert first.step(1) == second.step(1)


def reconstruction_fails(built, monkeypatch):
    divergence = built.divergence
    built.divergence = lambda clean, masked: divergence(clean, masked) * math.nan


def minimality_fails(built, monkeypatch):
    monkeypatch.setattr(module, "minimality_loss", lambda penalty, config: penalty.sum() * math.nan)


def faithfulness_fails(built, monkeypatch):
    built.weights = [torch.full_like(w, math.inf) for w in built.weights]


@pytest.mark.parametrize(
    ("name", "corrupt"),
    [
        ("reconstruction", reconstruction_fails),
        ("minimality", minimality_fails),
        ("faithfulness", faithfulness_fails),
    ],
)
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    tmp_path, monkeypatch, name, corrupt
):
    config = recipe(checkpoint_every=2)
    whole, broken = trainer(config), trainer(config)
    train(whole, tmp_path / "whole", "hash", log_every=1)
    step = broken.step

    def corrupted(index):
        if index == 5:
            corrupt(broken, monkeypatch)
        return step(index)

    broken.step = corrupted
    with pytest.raises(RankOneError, match=rf"^{name} is not finite at step 5\."):
        train(broken, tmp_path / "cut", "hash", log_every=1)
    assert all(p.isfinite().all() for p in broken.decomposition.parameters())
    saved = load_checkpoint(tmp_path / "cut", "hash")
    assert saved is not None
    assert saved.step == 4
    monkeypatch.undo()
    # The row of step 4 was written after the checkpoint: it is written again, not twice.
    mended = trainer(config)
    assert train(mended, tmp_path / "cut", "hash", log_every=1)
    assert same_state(whole, mended)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "cut")


def spoilt(built, what, value=math.nan):
    """The middle site's V, or the importance function's bias of its subcomponents, no longer finite."""
    sites, counts = built.decomposition.sites, built.decomposition.counts
    middle = len(sites) // 2
    if what == "V":
        built.decomposition.factors(sites[middle])[0].data[0, 0] = value
    else:
        built.decomposition.importance.head.bias.data[sum(counts[:middle])] = value
    return sites[middle]


@pytest.mark.parametrize("what", ["V", "importance"])
@pytest.mark.parametrize("form", ["merged", "separate"])
def test_the_error_names_the_site_at_fault(form, what):
    built = trainer(recipe(reconstruction={"form": form}))
    with built.installed():
        built.step(0)
        site = spoilt(built, what)
        with pytest.raises(
            RankOneError, match=rf"is not finite at step 1, first at the site {site} \({what}"
        ):
            built.step(1)


def test_a_gradient_that_is_not_finite_stops_before_it_reaches_a_parameter():
    built = trainer(recipe())
    sites = built.decomposition.sites
    factor = built.decomposition.factors(sites[1])[1]
    with built.installed():
        built.step(0)
        before = [p.detach().clone() for p in built.decomposition.parameters()]
        handle = factor.register_hook(lambda gradient: gradient * math.inf)
        with pytest.raises(
            RankOneError,
            match=rf"^the gradient is not finite at step 1, first at the site {sites[1]} \(U\)\.",
        ):
            built.step(1)
        handle.remove()
    for old, new in zip(before, built.decomposition.parameters(), strict=True):
        assert torch.equal(old, new)


def test_another_recipe_is_refused_on_resume(tmp_path):
    train(trainer(recipe()), tmp_path, "one", stop_after=2)
    other = trainer(recipe(seed=1))
    with pytest.raises(RankOneError, match="belongs to another configuration"):
        train(other, tmp_path, "two")


def test_a_run_without_checkpoint_starts_its_metrics_anew(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"step": 1}\n', "utf8")
    train(trainer(recipe(steps=2)), tmp_path, "hash")
    assert [row["step"] for row in metrics(tmp_path)] == [0, 1]
    assert all("minimality" in row for row in metrics(tmp_path))


def test_a_finished_run_stays_as_it_is(tmp_path):
    config = recipe(steps=2)
    done, again = trainer(config), trainer(config)
    assert train(done, tmp_path, "hash")
    assert train(again, tmp_path, "hash")
    assert same_state(done, again)
