"""Training on a tiny target: the losses go where they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.decomposition.tiny import recipe, run_steps, token_rows, trainer

FORMS = ["merged", "separate"]
STILL = {"start": 0.0}


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
