"""Training on a tiny target: the losses go where they should, and a cut run goes on to the bit."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from tests.decomposition.tiny import mask_of, recipe, target, token_rows, trainer

from rankone.core.errors import RankOneError
from rankone.decomposition.init.start import count_for, new_decomposition
from rankone.decomposition.model import save_decomposition
from rankone.decomposition.training import step as module
from rankone.decomposition.training.loop import train
from rankone.decomposition.training.state import put_state, state_of
from rankone.models.sites import find_sites
from rankone.runtime.checkpoint import load_checkpoint

FORMS = ["merged", "separate"]
STILL = {"start": 0.0}


def metrics(run):
    """Rows of metrics.jsonl without their clock."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf8").splitlines()]
    return [{k: v for k, v in row.items() if k != "it/s"} for row in rows]


def same_state(first, second):
    a, b = state_of(first, 0).tensors, state_of(second, 0).tensors
    assert a.keys() == b.keys()
    return [name for name in a if not torch.equal(a[name], b[name])] == []


def run_steps(built, steps):
    """Metrics of the first steps."""
    with built.model:
        return [built.step(i) for i in range(steps)]


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


# A constant batch, no price on importance, and steps long enough to see where the loss goes.
DESCENT = {
    "initialisation": "random",
    "steps": 40,
    "clip": 10.0,
    "learning_rate": {"start": 0.01},
    "importance_learning_rate": {"start": 0.01},
    "minimality.activity": 0.0,
    "minimality.frequency": 0.0,
}


def on_one_batch(**changes):
    config = recipe(**changes)
    return trainer(config, token_rows(config, config.rows))


def mean_of(rows, name):
    values = [row[name] for row in rows if name in row]
    return sum(values) / len(values)


@pytest.mark.parametrize("form", FORMS)
def test_training_lowers_faithfulness(form):
    rows = run_steps(on_one_batch(**DESCENT, reconstruction__form=form, faithfulness=1e5), 40)
    assert rows[-1]["faithfulness"] < 0.5 * rows[0]["faithfulness"]


@pytest.mark.parametrize("form", FORMS)
def test_training_lowers_the_divergence(form):
    rows = run_steps(on_one_batch(**DESCENT, reconstruction__form=form, faithfulness=0.0), 40)
    for name in ("kl_stochastic", "kl_adversarial"):
        assert mean_of(rows[-10:], name) < 0.8 * mean_of(rows[:5], name), name


@pytest.mark.parametrize("form", FORMS)
def test_minimality_lowers_the_importance(form):
    changes = {
        "steps": 40,
        "minimality.activity": 1.0,
        "minimality.sharpness": {"start": 0.5},
        "importance_learning_rate": {"start": 0.02},
    }
    rows = run_steps(on_one_batch(**changes, learning_rate=STILL, reconstruction__form=form), 40)
    assert rows[-1]["l0"] < 0.7 * rows[0]["l0"]
    assert rows[-1]["minimality"] < rows[0]["minimality"]


@pytest.mark.parametrize("scope", ["bsc", "sc", "bc", "c"])
@pytest.mark.parametrize("form", FORMS)
def test_the_adversary_raises_the_divergence_of_a_decomposition_that_stands_still(form, scope):
    built = on_one_batch(
        steps=15,
        learning_rate=STILL,
        importance_learning_rate=STILL,
        reconstruction__form=form,
        adversary__scope=scope,
        adversary__fraction=1.0,
        adversary__learning_rate={"start": 0.05},
    )
    before = {k: v.clone() for k, v in built.decomposition.state_dict().items()}
    rows = run_steps(built, 15)
    assert rows[-1]["kl_adversarial"] > 1.1 * rows[0]["kl_adversarial"]
    assert all(torch.equal(v, before[k]) for k, v in built.decomposition.state_dict().items())
    source = built.adversary.source
    assert ((source >= 0) & (source <= 1)).all()


def test_the_adversary_of_the_separate_form_does_not_see_its_coefficient():
    """Its ascents before the step and the one of the step's own backward go into the same moments."""
    moments = []
    for coefficient in (1.0, 0.1):
        built = on_one_batch(
            learning_rate=STILL,
            importance_learning_rate=STILL,
            reconstruction__form="separate",
            reconstruction__adversarial=coefficient,
            adversary__extra_ascents=1,
        )
        run_steps(built, 2)
        moments.append(built.adversary.first)
    torch.testing.assert_close(moments[0], moments[1], rtol=1e-3, atol=1e-7)


def spy(built):
    """What the masked forwards of a trainer were given: (masks, delta's masks, routes)."""
    calls, masked = [], built.model.masked

    def recorded(ids, parts, delta, route, outputs):
        calls.append((mask_of(parts, delta), delta.detach(), route))
        return masked(ids, parts, delta, route, outputs)

    built.model.masked = recorded
    return calls


def test_merged_rows_are_adversarial_everywhere_or_stochastic_on_subsets():
    built = trainer(recipe(rows=16))
    source, total = built.adversary.source.clone(), built.decomposition.total
    calls = spy(built)
    run_steps(built, 1)
    ((mask, delta, route),) = calls
    sites = len(built.decomposition.sites)
    adversarial = (route == 1).flatten(1).all(1)
    assert 1 <= adversarial.sum() <= 15
    assert torch.equal(delta[adversarial], source[adversarial, :, total:].expand(-1, delta.shape[1], -1))
    with built.model, torch.no_grad():
        fresh = new_decomposition(target(), built.config)
        g = fresh.logits(built.model.clean(built.batch(0))[1]).clamp(0, 1)
    expected = g + (1 - g) * source[..., :total]
    torch.testing.assert_close(mask[adversarial], expected[adversarial])
    others = route[~adversarial]
    assert set(others.unique().tolist()) == {0.0, 1.0}
    assert (others.sum(-1) >= 1).all()
    assert set(others.sum(-1).unique().tolist()) == set(range(1, sites + 1))
    assert len(delta[~adversarial].unique()) == delta[~adversarial].numel()
    assert (mask[~adversarial] >= g[~adversarial]).all()


def test_slots_take_turns_on_the_sources():
    built = trainer(recipe(adversary__sources=3, adversary__fraction=1.0))
    source, total = built.adversary.source.clone(), built.decomposition.total
    assert len(source) == 3
    calls = spy(built)
    run_steps(built, 1)
    assert torch.equal(calls[0][1][:, 0], source[[0, 1, 2, 0], 0, total:])


def test_segments_of_a_row_meet_their_own_sources():
    built = trainer(recipe(adversary__segments=2, adversary__fraction=1.0, context=8))
    source, total = built.adversary.source.clone(), built.decomposition.total
    rows, length = built.config.rows, built.config.context
    assert len(source) == 2 * rows
    calls = spy(built)
    run_steps(built, 1)
    mask, delta, _ = calls[0]
    expected = source.view(rows, 2, -1).repeat_interleave(length // 2, 1)
    assert torch.equal(delta, expected[..., total:])
    with built.model, torch.no_grad():
        fresh = new_decomposition(target(), built.config)
        g = fresh.logits(built.model.clean(built.batch(0))[1]).clamp(0, 1)
    torch.testing.assert_close(mask, g + (1 - g) * expected[..., :total])


def test_segments_must_divide_the_row():
    with pytest.raises(ValueError, match=r"adversary\.segments is 3, which does not divide the context of 8"):
        recipe(adversary__segments=3, context=8)


def test_routing_all_masks_every_site():
    built = trainer(recipe(reconstruction__routing="all"))
    calls = spy(built)
    run_steps(built, 1)
    assert (calls[0][2] == 1).all()


def test_mixed_routing_masks_all_sites_or_a_subset_by_row():
    built = trainer(recipe(rows=64, reconstruction__routing="mixed", adversary__fraction=0.0))
    calls = spy(built)
    run_steps(built, 1)
    whole = (calls[0][2] == 1).flatten(1).all(1)
    assert 16 <= whole.sum() <= 48


def test_sources_from_corners_leave_rows_all_on_and_all_off():
    built = trainer(recipe(rows=64, reconstruction__sources="corners", adversary__fraction=0.0))
    calls = spy(built)
    run_steps(built, 1)
    mask = calls[0][0]
    with built.model, torch.no_grad():
        fresh = new_decomposition(target(), built.config)
        g = fresh.logits(built.model.clean(built.batch(0))[1]).clamp(0, 1)
    ones, own = (mask - 1).abs() < 1e-5, (mask - g).abs() < 1e-5
    assert (ones | own).all()
    on, off = ones.flatten(1).all(1), own.flatten(1).all(1)
    assert 3 <= on.sum() <= 24
    assert 3 <= off.sum() <= 24


def test_separate_passes_are_the_ascents_then_one_of_each_kind():
    built = trainer(recipe(reconstruction__form="separate", adversary__extra_ascents=2))
    total, calls = built.decomposition.total, spy(built)
    run_steps(built, 1)
    kinds = [bool((route == 1).all()) for _, _, route in calls]
    assert kinds == [True, True, False, True]
    assert built.adversary.ascents.flatten().tolist() == [3, 3, 3, 3]
    # Constant over positions: the source of the delta components, not noise.
    assert all((calls[i][1] == calls[i][1][:, :1]).all() for i in (0, 1, 3))
    assert calls[2][1].unique().numel() == calls[2][1].numel()
    assert calls[0][0].shape[-1] == total


@pytest.mark.parametrize(("stochastic", "adversarial"), [(0.5, 0.5), (0.3, 0.9), (1.0, 0.0)])
def test_the_merged_loss_weighs_each_row_by_its_kind(stochastic, adversarial):
    """Twice the mean of coefficient × divergence, so that ½ and ½ is the plain mean."""
    built = trainer(
        recipe(rows=8, reconstruction__stochastic=stochastic, reconstruction__adversarial=adversarial)
    )
    divergence = torch.rand(8, 7)
    built.divergence = lambda clean, masked: divergence + 0 * masked.sum()
    totals = []
    check = built._check
    built._check = lambda losses, step: (totals.append(losses["reconstruction"]), check(losses, step))
    calls = spy(built)
    (row,) = run_steps(built, 1)
    kind = (calls[0][2] == 1).flatten(1).all(1)
    assert 1 <= kind.sum() <= 7
    weight = torch.where(kind, adversarial, stochastic)
    assert totals == [pytest.approx(2 * (weight * divergence.mean(1)).mean().item(), rel=1e-5)]
    assert row["kl_adversarial"] == pytest.approx(divergence[kind].mean().item(), rel=1e-5)
    assert row["kl_stochastic"] == pytest.approx(divergence[~kind].mean().item(), rel=1e-5)


def test_the_clean_forward_and_the_target_are_untouched_by_training():
    built = trainer(recipe())
    before = {k: v.clone() for k, v in built.model.target.state_dict().items()}
    run_steps(built, 2)
    after = built.model.target.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(v, after[k]) for k, v in before.items())
    assert all(p.grad is None for p in built.model.target.parameters())


def test_batches_are_read_in_order_and_start_again():
    config = recipe(rows=2)
    built = trainer(config, np.arange(3)[:, None].repeat(config.context, 1))
    assert [built.batch(i)[:, 0].tolist() for i in range(3)] == [[0, 1], [2, 0], [1, 2]]


def test_warm_up_lowers_faithfulness_with_an_optimiser_that_is_thrown_away():
    built = trainer(recipe(initialisation="random"))
    before = built.faithfulness_loss().item()
    built.warm_up(30)
    assert built.faithfulness_loss().item() < 0.9 * before
    assert not built.optimizer.state


def test_metrics_count_what_fires():
    (row,) = run_steps(trainer(recipe()), 1)
    total = 4 * 8 + 2 * 12
    assert 0 < row["l0"] < total
    assert row["alive"] == total  # every one counts as alive until it has not fired for long
    assert row["faithfulness"] < 1e-12


def test_bf16_autocast_trains_fp32_parameters():
    built = trainer(recipe(autocast=True))
    before = [p.detach().clone() for p in built.decomposition.parameters()]
    run_steps(built, 2)
    for old, new in zip(before, built.decomposition.parameters(), strict=True):
        assert new.dtype == torch.float32
        assert new.isfinite().all()
        assert not torch.equal(old, new)


def test_counts_come_from_the_first_matching_pattern():
    sites = {s.name: s for s in find_sites(target())}
    config = recipe(subcomponents={"*.q_proj": 10, "*attn*": 20})
    assert count_for(sites["h.0.attn.q_proj"], config) == 10
    assert count_for(sites["h.0.attn.k_proj"], config) == 20
    assert count_for(sites["h.0.mlp.c_fc"], config) == 12
    assert new_decomposition(target(), config).counts == [20, 20, 10, 20, 12, 12]


def test_a_count_below_one_is_refused():
    with pytest.raises(RankOneError, match=r"subcomponents\['\*q_proj'\] is 0"):
        new_decomposition(target(), recipe(subcomponents={"*q_proj": 0}))


@pytest.mark.parametrize("sites", [["*"], ["*mlp*"]])
def test_a_pattern_of_subcomponents_that_matches_no_site_is_refused(sites):
    pattern = "h.0.attn.q_prj" if sites == ["*"] else "h.0.attn.q_proj"
    with pytest.raises(RankOneError, match=rf"subcomponents\['{pattern}'\] matches none"):
        new_decomposition(target(), recipe(sites=sites, subcomponents={pattern: 10}))


def test_a_run_goes_on_from_another_one(tmp_path):
    first = trainer(recipe(steps=2, initialisation="random"))
    train(first, tmp_path, "hash")
    found = new_decomposition(target(), recipe(seed=9, continue_from=str(tmp_path)))
    expected = first.decomposition.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in found.state_dict().items())


def test_a_run_goes_on_from_a_finished_decomposition(tmp_path):
    model = target()
    first = new_decomposition(model, recipe(initialisation="random"))
    save_decomposition(first, model, tmp_path / "finished", {}, None, "float32")
    found = new_decomposition(model, recipe(seed=9, continue_from=str(tmp_path / "finished")))
    expected = first.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in found.state_dict().items())


@pytest.mark.parametrize(
    "changes",
    [
        {"importance__hidden": 16},
        {"importance__blocks": 2},
        {"subcomponents": {"*q_proj": 9}},
        {"sites": ["*mlp*"]},
    ],
)
def test_a_run_of_other_sizes_is_not_continued(tmp_path, changes):
    train(trainer(recipe(steps=1)), tmp_path, "hash")
    with pytest.raises(RankOneError, match="other sites, C or importance sizes"):
        new_decomposition(target(), recipe(**changes, continue_from=str(tmp_path)))


def test_a_run_that_is_not_there_is_not_continued(tmp_path):
    with pytest.raises(RankOneError, match="nowhere"):
        new_decomposition(target(), recipe(continue_from=str(tmp_path / "nowhere")))


def test_the_seed_decides_the_start():
    first, again, other = (
        new_decomposition(target(), recipe(seed=s, initialisation="random")) for s in (3, 3, 4)
    )
    state = first.state_dict()
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in state.items())
    assert not torch.equal(
        state["importance.project.weight"], other.state_dict()["importance.project.weight"]
    )
    assert not torch.equal(state["V.h-0-mlp-c_fc"], other.state_dict()["V.h-0-mlp-c_fc"])
