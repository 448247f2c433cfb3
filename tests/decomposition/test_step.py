"""Whole training steps against the plain float64 oracle: losses, gradients, ascents, parameters after the step."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.oracle import Drawn, Oracle, ascended
from tests.decomposition.tiny import recipe, trainer

from rankone.decomposition.training import passes
from rankone.decomposition.training import step as module

CASES = {
    "merged": {},
    "separate": {"reconstruction__form": "separate"},
    "merged, unfair": {
        "reconstruction__stochastic": 0.2,
        "reconstruction__adversarial": 0.9,
        "reconstruction__hidden": 3.0,
        "adversary__scope": "sc",
        "faithfulness_scale": "relative",
    },
    "separate, hidden": {
        "reconstruction__form": "separate",
        "reconstruction__stochastic": 0.2,
        "reconstruction__adversarial": 0.9,
        "reconstruction__hidden": 3.0,
        "reconstruction__routing": "layerwise",
        "adversary__scope": "bsc",
        "adversary__extra_ascents": 1,
    },
    "merged, averaged": {
        "minimality__half_life": 2.0,
        "minimality__normalised": True,
        "minimality__frequency": 0.1,
        "minimality__reference_count": 30.0,
        "reconstruction__sources": "corners",
        "reconstruction__routing": "mixed",
        "adversary__pool": 3,
    },
    "separate, L_p": {
        "reconstruction__form": "separate",
        "reconstruction__divergence": "mse",
        "reconstruction__sources": "binary",
        "minimality__kind": "lp",
        "minimality__sharpness": {"start": 0.7},
        "adversary__scope": "c",
    },
    "merged, fresh": {"adversary__kind": "fresh", "adversary__steps": 2, "adversary__step_size": 0.3},
    "separate, fresh": {
        "reconstruction__form": "separate",
        "adversary__kind": "fresh",
        "adversary__steps": 1,
        "adversary__scope": "sc",
    },
    "merged, read leak": {"read_leak": 3.0},
    "merged, stray reading": {"stray_reading": 0.3, "read_leak": 1.0},
    "separate, read leak": {"reconstruction__form": "separate", "read_leak": 3.0},
    "merged, MLP on activations": {"importance": {"kind": "mlp", "hidden": [4]}},
}
BASE = {
    "rows": 6,
    # Δ of an aligned start is rounding; of a random one it has a gradient to compare.
    "initialisation": "random",
    "faithfulness": 10.0,
    "minimality__activity": 0.01,
    "minimality__sharpness": {"start": 0.4},
    "learning_rate": {"start": 1e-3},
    "importance_learning_rate": {"start": 2e-3},
}


def built(name, **more):
    changes = BASE | CASES[name] | more
    if "adversary__kind" not in changes:
        changes["adversary__learning_rate"] = {"start": 0.05}
    return trainer(recipe(**changes))


def recorded(run):
    """A list that fills with what each masked pass of the trainer is given."""
    passes: list[Drawn] = []
    masked = run.model.masked

    def given(batch, masks, delta, route, outputs):
        adversarial, level = masks[0].adversarial, masks[0].level
        # A pass of adversarial rows alone draws no noise; what stands in for it must not matter.
        noise = [torch.zeros_like(m.logits) if m.noise is None else m.noise for m in masks]
        own = run.adversary.source.clone()
        slots = None if len(own) == 1 else run.adversary.slots.clone()
        drawn = Drawn(torch.cat(noise, -1), level, adversarial, own, slots, delta.detach(), route)
        passes.append(drawn)
        return masked(batch, masks, delta, route, outputs)

    run.model.masked = given
    return passes


def close(ours, theirs, scale=None):
    """Equal up to fp32 against fp64, relative to the largest entry."""
    bound = 2e-4 * max((theirs.abs().max().item() if scale is None else scale), 1e-12)
    torch.testing.assert_close(ours.double(), theirs, rtol=2e-3, atol=bound)


@pytest.mark.parametrize("name", CASES)
def test_two_steps_are_those_of_the_oracle(name):
    run = built(name)
    passes, losses = recorded(run), []
    check = run._check
    run._check = lambda told, step: (losses.append(dict(told)), check(told, step))
    for step in range(2):
        oracle = Oracle(run)
        passes.clear()
        moments = {k: v.double().clone() for k, v in run.adversary.tensors().items()}
        with run.model:
            run.step(step)
        rates = [group["lr"] for group in run.optimizer.param_groups]
        expected = oracle.step(
            run.batch(step), passes, run.config.minimality.sharpness.at(step, run.config.steps), rates
        )
        for part, value in expected["losses"].items():
            assert losses[-1][part] == pytest.approx(value, rel=1e-4, abs=1e-9), part
        for parameter, value in run.decomposition.named_parameters():
            gradient = expected["gradients"][parameter]
            close(value.grad, gradient)
            # Where the gradient is rounding, so is the sign that AdamW takes of it.
            sure = gradient.abs() > 1e-3 * gradient.abs().max()
            close(value.detach()[sure], expected["after"][parameter][sure], scale=1.0)
        check_ascents(run, passes, expected["sources"], moments)


def check_ascents(run, passes, gradients, moments):
    """The sources of each search, and those left by the step, are the last ones moved up the oracle's gradients."""
    config = run.adversary.config
    fresh = config.kind == "fresh"
    # The stochastic pass of the separate form uses no source and moves none.
    chain = [d for d in passes if d.adversarial.any()]
    after = [d.source for d in chain[1:]] + [run.adversary.source]
    state = None if fresh else [moments[k] for k in ("first", "second", "ascents")]
    for drawn, gradient, moved in zip(chain, gradients, after, strict=True):
        if fresh and drawn is chain[-1]:
            assert torch.equal(moved, drawn.source)
            break
        used = run.adversary.used(drawn.adversarial)
        expected = ascended(config, drawn.source.double(), gradient, used, state)
        sure = gradient.abs() > 1e-3 * gradient.abs().max()
        assert sure[used.flatten()].float().mean() > 0.2
        torch.testing.assert_close(moved.double()[sure], expected[sure], rtol=1e-3, atol=1e-3)
        if not fresh:
            keep = used.double()
            first, second, count = state
            state = [
                first + keep * (1 - config.beta1) * (gradient - first),
                second + keep * (1 - config.beta2) * (gradient**2 - second),
                count + keep,
            ]


@pytest.mark.parametrize(
    "name", ["merged, unfair", "separate, hidden", "merged, averaged", "separate, fresh"]
)
def test_a_step_in_pieces_is_the_step(name, monkeypatch):
    """Losses, gradients and sources, of two rows at a time and of all six."""
    found = []
    for at_once in (passes.AT_ONCE, 15):
        monkeypatch.setattr(passes, "AT_ONCE", at_once)
        run = built(name, importance_clip=1e9)
        seen = recorded(run)
        with run.model:
            told = [run.step(step) for step in range(2)]
        gradients = {k: p.grad for k, p in run.decomposition.named_parameters()}
        found.append((told, gradients, run.adversary.source, len(seen)))
    (told, gradients, source, count), (ours, pieced, moved, pieces) = found
    assert pieces == 3 * count
    for a, b in zip(ours, told, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-9)
    for key, value in pieced.items():
        close(value, gradients[key].double())
    assert (moved - source).abs().quantile(0.95) < 1e-4


def test_the_comparison_tells_a_loss_one_percent_off(monkeypatch):
    run = built("merged, averaged", importance_clip=1e3)  # a clipped gradient has no size to be wrong
    passes = recorded(run)
    right = module.minimality_loss
    monkeypatch.setattr(module, "minimality_loss", lambda f, config: 1.01 * right(f, config))
    oracle = Oracle(run)
    with run.model:
        run.step(0)
    expected = oracle.step(
        run.batch(0), passes, run.config.minimality.sharpness.at(0, run.config.steps), [1e-3, 2e-3]
    )
    with pytest.raises(AssertionError):
        close(run.decomposition.importance.head.bias.grad, expected["gradients"]["importance.head.bias"])
