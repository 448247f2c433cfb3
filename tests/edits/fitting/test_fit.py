"""Fitting many runs at once: each equals its own sequential fit, and a plain implementation of the objective."""

from __future__ import annotations

import copy
import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from tests.decomposition.tiny import decomposed
from tests.helpers import same, simple_mlp, snapshot
from torch import nn
from torch.func import functional_call

from rankone.core.errors import RankOneError
from rankone.edits.adapters import adapted
from rankone.edits.fitting.config import FitConfig
from rankone.edits.fitting.fit import fit_many
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Fit, Run
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.lora import Lora
from rankone.edits.scales import Scales
from rankone.text.blocks import Blocks

COMPONENTS = ["h.0.attn.v_proj:3", "h.1.mlp.c_fc:30", "h.1.mlp.c_fc:7"]


@pytest.fixture(scope="module")
def model():
    return simple_mlp()


@pytest.fixture(scope="module")
def methods(model):
    return {
        "scales": Scales(decomposed(model, "random"), COMPONENTS),
        "lora": Lora(model, ["h.1.mlp.*", "h.0.attn.q_proj"], rank=2),
    }


def spoken(model, tokens, length=12, seed=0):
    """`tokens` tokens sampled from the model, so that its cross-entropy on them lies below chance."""
    rows = -(-tokens // (length - 1))
    ids = torch.zeros(rows, 1, dtype=torch.long)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(length - 1):
        with torch.no_grad():
            odds = model(ids).logits[:, -1].softmax(-1)
        ids = torch.cat((ids, torch.multinomial(odds, 1, generator=generator)), dim=1)
    valid = torch.ones_like(ids, dtype=torch.bool)
    valid[:, 0] = False
    return Blocks(ids, valid).take(tokens)


@pytest.fixture(scope="module")
def retain(model):
    return RetainText(model, spoken(model, 60, length=9, seed=100))


@pytest.fixture(scope="module")
def runs(model):
    """1, 1, 1, 3 and 4 rows of forget text."""
    settings = [(4, 0.3, 0.02), (5, 1.0, 0.05), (11, 0.0, 0.01), (25, 3.0, 0.03), (40, 1.0, 0.1)]
    return [Run(spoken(model, n, seed=n), 10 + n, weight, rate) for n, weight, rate in settings]


def exact(**changes):
    """fp32 fits on the sampled tokens, each capped, that do not stop early."""
    plain = {"steps": 20, "patience": 1000, "autocast": False, "target": "sampled", "cap": "token"}
    return FitConfig(**{**plain, **changes})


def assert_equal_fits(fit, other, tolerance=1e-2):
    assert fit.parameters.keys() == other.parameters.keys()
    for name, value in fit.parameters.items():
        gap = (value - other.parameters[name]).norm() / other.parameters[name].norm()
        assert gap < tolerance, f"{name} of {fit.run.forget.tokens} tokens differs by {gap:.2g}"
    assert fit.loss == pytest.approx(other.loss, rel=tolerance, abs=1e-6)
    assert fit.steps == other.steps


@pytest.mark.parametrize("kind", ["scales", "lora"])
@pytest.mark.parametrize("forget_rows", [1, 2])
def test_runs_fitted_together_equal_each_alone(model, methods, runs, retain, kind, forget_rows):
    config = exact(forget_rows=forget_rows, retain_rows=2)
    together = fit_many(model, methods[kind], runs, retain, config)
    start = methods[kind].start(1, [runs[0].seed])
    for run, fit in zip(runs, together, strict=True):
        assert fit.run is run
        (alone,) = fit_many(model, methods[kind], [run], retain, config)
        assert_equal_fits(fit, alone)
        for site in alone.edit.sites:
            found, expected = (e.factors[site].write @ e.factors[site].read for e in (fit.edit, alone.edit))
            # Adam divides by the gradient's size, so rounding in small gradients grows over the steps.
            assert (found - expected).norm() < 1e-2 * expected.norm()
        moved = {k: (v - start[k][0]).abs().max() for k, v in fit.parameters.items()}
        assert max(moved.values()) > 5 * run.learning_rate


@pytest.mark.parametrize("forget_rows", [1, 2])
def test_npo_starts_from_what_the_base_model_says(model, methods, runs, retain, forget_rows):
    """A LoRA changes nothing at its start: s = s₀, whatever the text, and the loss is 2/β ln 2."""
    config = exact(steps=1, cap="mean", objective="npo", forget_rows=forget_rows)
    fits = fit_many(model, methods["lora"], runs, retain, config)
    assert [fit.loss for fit in fits] == pytest.approx([20 * math.log(2)] * len(runs), rel=1e-4)


def plain_fit(model, weights, parameters, changes, run, retain, config):
    """The docstring's objective, one run, plain torch.optim.Adam; `changes()` gives ΔW by weight name."""
    optimizer = torch.optim.Adam(parameters, lr=run.learning_rate)
    chance = run.margin * math.log(model.config.vocab_size)

    def log_probs(row, changed):
        return functional_call(model, changed, (), {"input_ids": row.unsqueeze(0)}).logits[0].log_softmax(-1)

    for step in range(config.steps):
        delta = changes()
        changed = {name: weight + delta[name] for name, weight in weights.items()}
        row = step % len(run.forget.ids)
        ids, valid = run.forget.ids[row], run.forget.valid[row]
        found = log_probs(ids, changed)
        if config.target == "sampled":
            surprise = [-found[t - 1, ids[t]] for t in range(1, len(ids)) if valid[t]]
        else:
            with torch.no_grad():
                own = log_probs(ids, {}).exp()
            surprise = [-(own[t] * found[t]).sum() for t in range(len(ids)) if valid[t]]
        if config.cap == "token":
            removal = sum(F.relu(chance - ce) for ce in surprise) / len(surprise)
        else:
            removal = F.relu(chance - sum(surprise) / len(surprise))
        row = step % len(retain.ids)
        ids, present = retain.ids[row], retain.present[row]
        with torch.no_grad():
            base = log_probs(ids, {})
        found = log_probs(ids, changed)
        kl = [(base[t].exp() * (base[t] - found[t])).sum() for t in range(len(ids)) if present[t]]
        loss = removal + run.retain_weight * sum(kl) / len(kl)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class Shifted(Scales):
    """Starts at α = ½: at α = 1 the expected cross-entropy is least, so that its gradient there is zero."""

    def start(self, runs, seeds):
        return {"alpha": nn.Parameter(torch.full((runs, len(self.components)), 0.5))}


@pytest.mark.parametrize("target", ["sampled", "expected"])
@pytest.mark.parametrize(("cap", "margin"), [("token", 1.0), ("mean", 1.2)])
def test_a_scalar_equals_a_plain_fit_on_the_weight(model, methods, retain, cap, margin, target):
    scales = Shifted(methods["scales"].parts, COMPONENTS[1:2])
    run = Run(spoken(model, 25, seed=4), 0, 0.3, 0.05, margin)
    config = exact(cap=cap, target=target)
    (fit,) = fit_many(model, scales, [run], retain, config)
    read, write = scales.parts.vectors(COMPONENTS[1])
    alpha = torch.tensor(0.5, requires_grad=True)
    name = "h.1.mlp.c_fc.weight"
    weights = {name: model.get_parameter(name).detach()}
    plain_fit(
        copy.deepcopy(model),
        weights,
        [alpha],
        lambda: {name: (alpha - 1) * torch.outer(write, read)},
        run,
        retain,
        config,
    )
    assert abs(alpha.item() - 0.5) > 0.2
    assert float(fit.parameters["alpha"][0]) == pytest.approx(alpha.item(), rel=1e-4)


def test_a_lora_equals_a_plain_fit_on_the_weights(model, methods, retain):
    lora: Lora = methods["lora"]
    run, config = Run(spoken(model, 25, seed=4), 7, 0.5, 0.01), exact()
    (fit,) = fit_many(model, lora, [run], retain, config)
    start = {k: v.detach()[0].clone().requires_grad_(True) for k, v in lora.start(1, [7]).items()}
    weights = {f"{s}.weight": model.get_submodule(s).weight.detach() for s in lora.sites()}
    assert lora.sites() == ["h.0.attn.q_proj", "h.1.mlp.c_fc", "h.1.mlp.down_proj"]
    plain_fit(
        copy.deepcopy(model),
        weights,
        list(start.values()),
        lambda: {f"{s}.weight": 8.0 * start[f"B:{s}"] @ start[f"A:{s}"] for s in lora.sites()},
        run,
        retain,
        config,
    )
    for name, value in start.items():
        assert (fit.parameters[name] - value).norm() < 1e-3 * value.norm(), name
    for site in lora.sites():
        expected = 8.0 * start[f"B:{site}"] @ start[f"A:{site}"]
        found = fit.edit.factors[site].write @ fit.edit.factors[site].read
        assert torch.allclose(found, expected, rtol=1e-2, atol=1e-4), site


class Bigram(nn.Module):
    """Three tokens; the next one's odds after 0 are ½ ¼ ¼, after 1 they are .1 .8 .1, after 2 all equal."""

    config = SimpleNamespace(vocab_size=3)

    def __init__(self):
        super().__init__()
        self.h = nn.ModuleList([nn.Linear(3, 3, bias=False)])
        odds = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [1 / 3, 1 / 3, 1 / 3]])
        self.h[0].weight = nn.Parameter(odds.log().T.contiguous())

    def forward(self, input_ids, use_cache):
        return SimpleNamespace(logits=self.h[0](F.one_hot(input_ids, 3).float()))


class Push:
    """Adds p to the logit of 0 after a 0; p starts at ln 2, so the odds become ⅔ ⅙ ⅙."""

    name = "push"

    def start(self, runs, seeds):
        return {"p": nn.Parameter(torch.full((runs,), math.log(2)))}

    def sites(self):
        return ["h.0"]

    def change(self, site, parameters, x):
        return parameters["p"].view(-1, 1, 1) * x[..., :1] * torch.tensor([1.0, 0.0, 0.0])

    def edit(self, parameters, run):
        unit = torch.tensor([[1.0, 0.0, 0.0]])
        return LowRankEdit({"h.0": (parameters["p"][run] * unit.T, unit)})


def hand(ids, valid):
    return Blocks(torch.tensor(ids), torch.tensor(valid, dtype=torch.bool))


CHANCE = math.log(3)
KNOWN = CHANCE + math.log(0.8)  # chance − CE of 1 after 1; of 1 after 0 (odds ⅙ once pushed) it is negative
PUSHED_KL = 0.5 * math.log(0.5 / (2 / 3)) + 0.5 * math.log(0.25 / (1 / 6))


@pytest.mark.parametrize(
    ("cap", "rows", "text", "removal"),
    [
        # 0 → 1 is above chance already and counts 0; 1 → 1 counts; 1 → 2 is not a text token.
        ("token", 1, hand([[0, 1, 1, 2]], [[0, 1, 1, 0]]), KNOWN / 2),
        ("mean", 1, hand([[0, 1, 1, 2]], [[0, 1, 1, 0]]), CHANCE - (math.log(6) - math.log(0.8)) / 2),
        # The mean over both rows' three tokens, not the mean of two means.
        ("token", 2, hand([[0, 1, 1], [0, 1, 1]], [[0, 0, 1], [0, 1, 1]]), 2 * KNOWN / 3),
        # Fewer rows than asked for: the row counts once.
        ("token", 3, hand([[0, 1, 1, 2]], [[0, 1, 1, 0]]), KNOWN / 2),
        ("mean", 1, hand([[0, 1, 0]], [[0, 1, 0]]), 0.0),
    ],
)
@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_the_loss_by_hand(cap, rows, text, removal, weight):
    model = Bigram()
    # Present: 0 (pushed), 1, and 0 in the second row; the padding 0 of the first row does not count.
    retain = RetainText(model, hand([[0, 1, 0], [0, 2, 2]], [[0, 1, 0], [0, 1, 1]]))
    config = exact(steps=1, cap=cap, forget_rows=rows, retain_rows=2)
    (fit,) = fit_many(model, Push(), [Run(text, 0, weight, 0.1)], retain, config)
    assert fit.loss == pytest.approx(max(removal, 0.0) + weight * 2 * PUSHED_KL / 5, abs=1e-6)


def test_the_expected_loss_by_hand():
    # Base odds ½ ¼ ¼ after 0, pushed to ⅔ ⅙ ⅙: cross-entropy ½ ln 1.5 + ½ ln 6, under chance by what it is.
    model = Bigram()
    retain = RetainText(model, hand([[1, 1]], [[0, 1]]))
    text = hand([[0, 1]], [[1, 0]])
    (fit,) = fit_many(model, Push(), [Run(text, 0, 1.0, 0.1)], retain, exact(steps=1, target="expected"))
    expected = CHANCE - 0.5 * math.log(1.5) - 0.5 * math.log(6)
    assert fit.loss == pytest.approx(max(expected, 0.0), abs=1e-6)
    assert expected > 0


def test_forget_and_retain_rows_are_taken_in_order_and_round_again(monkeypatch):
    model, seen = Bigram(), []
    forget = hand([[0, 1], [0, 2], [1, 1]], [[0, 1]] * 3)
    retain = RetainText(model, hand([[2, 0], [2, 1]], [[0, 1]] * 2))
    forward = Bigram.forward

    def watched(self, input_ids, use_cache):
        seen.append(input_ids)
        return forward(self, input_ids, use_cache)

    monkeypatch.setattr(Bigram, "forward", watched)
    runs = [Run(forget, 0, 1.0, 0.1), Run(forget.rows(0, 2), 1, 1.0, 0.1)]
    retain.prepared(["h.0"])
    seen.clear()
    fit_many(model, Push(), runs, retain, exact(steps=4))
    assert [ids.tolist() for ids in seen[::2]] == [
        [[0, 1], [0, 1]],
        [[0, 2], [0, 2]],
        [[1, 1], [0, 1]],
        [[0, 1], [0, 2]],
    ]
    assert [ids.tolist() for ids in seen[1::2]] == [[[2, 0]] * 2, [[2, 1]] * 2] * 2


def test_a_stopped_run_stays_where_it_is(model, methods, retain):
    """The first run hardly moves, so its loss does not improve and it stops after `patience` steps more."""
    single = RetainText(model, Blocks(retain.ids[:1], retain.present[:1] & (torch.arange(9) > 0)))
    text = spoken(model, 8, seed=1)
    runs = [Run(text, 0, 1.0, 1e-4), Run(text, 1, 0.0, 0.5)]
    config = exact(steps=16, patience=4)
    stopped, going = fit_many(model, methods["scales"], runs, single, config)
    assert stopped.steps == 5
    assert going.steps > 8
    for fit in (stopped, going):
        (alone,) = fit_many(model, methods["scales"], [fit.run], single, exact(steps=fit.steps))
        assert torch.allclose(
            fit.parameters["alpha"] - 1, alone.parameters["alpha"] - 1, rtol=1e-3, atol=1e-7
        )
        assert fit.loss == pytest.approx(alone.loss, rel=1e-5)


def test_all_runs_stopped_ends_the_fit(model, methods, retain):
    run = Run(spoken(model, 3), 0, 1.0, 1e-6)
    single = RetainText(model, Blocks(retain.ids[:1], retain.present[:1] & (torch.arange(9) > 0)))
    (fit,) = fit_many(model, methods["scales"], [run], single, exact(steps=50, patience=3))
    assert fit.steps == 4


def test_what_a_method_asks_is_part_of_the_loss(model, methods, retain):
    """A price of 50 per unit of |α − 2| outweighs all else: Adam goes to 2 by its rate, and the loss says the price."""

    class Costly(Scales):
        def price(self, parameters):
            return 50 * (parameters["alpha"] - 2).abs().sum(-1)

    method = Costly(decomposed(model, "random"), COMPONENTS)
    run = Run(spoken(model, 4), 0, 1.0, 0.1)
    (fit,) = fit_many(model, method, [run], retain, exact(steps=5))
    torch.testing.assert_close(
        fit.parameters["alpha"], torch.full((len(COMPONENTS),), 1.5), rtol=0.01, atol=0.01
    )
    assert fit.loss > 50 * 0.5 * len(COMPONENTS)


def test_a_loss_that_is_not_finite_names_its_run(model, methods, runs, retain):
    before = snapshot(model)
    bad = Run(runs[1].forget, 33, 1.0, math.inf)
    with pytest.raises(
        RankOneError, match=r"seed 33, 5 forget tokens, λ 1\.0 is not finite at step 1: .*\(inf\)"
    ):
        fit_many(model, methods["scales"], [runs[0], bad, runs[2]], retain, exact())
    assert same(model, before)
    assert not adapted_layers(model)


def test_empty_texts_are_refused(model, methods, runs, retain):
    nothing = Blocks(torch.zeros(0, 1, dtype=torch.long), torch.zeros(0, 1, dtype=torch.bool))
    with pytest.raises(RankOneError, match="the retain text is empty"):
        RetainText(model, nothing)
    with pytest.raises(RankOneError, match="the forget text of seed 5 is empty"):
        fit_many(model, methods["scales"], [runs[0], Run(nothing, 5, 1.0, 0.1)], retain, exact())


def adapted_layers(model):
    return [name for name, module in model.named_modules() if type(module).__name__ == "_Adapted"]


@pytest.mark.parametrize("kind", ["scales", "lora"])
def test_the_model_is_untouched_after_fitting(model, methods, runs, retain, kind):
    before, modules = snapshot(model), list(model.modules())
    ids = runs[0].forget.ids
    logits = model(ids).logits
    fit_many(model, methods[kind], runs[:2], retain, exact(steps=3))
    assert same(model, before)
    assert list(model.modules()) == modules
    assert torch.equal(model(ids).logits, logits)
    assert all(p.grad is None for p in model.parameters())


def test_an_outcome_cannot_be_altered(runs, methods):
    fit = Fit(runs[0], methods["scales"], {}, steps=1, loss=0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        fit.loss = 0.0


def test_the_layers_are_back_after_an_exception(model, methods):
    before, modules = snapshot(model), list(model.modules())
    parameters = methods["scales"].start(1, [0])

    def fails():
        with adapted(model, methods["scales"], parameters, 1):
            assert adapted_layers(model) == ["h.0.attn.v_proj", "h.1.mlp.c_fc"]
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert list(model.modules()) == modules
    assert same(model, before)


def test_the_cap_of_each_run_is_its_own(model, methods, runs, retain):
    caps = [dataclasses.replace(runs[3], margin=margin) for margin in (0.1, 1.0, 2.0)]
    low, one, high = fit_many(model, methods["scales"], caps, retain, exact(steps=8))
    # A cap below the model's own cross-entropy leaves nothing to remove.
    assert low.loss < 1e-3 < min(one.loss, high.loss)
    assert not torch.equal(one.parameters["alpha"], high.parameters["alpha"])
    (alone,) = fit_many(model, methods["scales"], caps[2:], retain, exact(steps=8))
    torch.testing.assert_close(alone.parameters["alpha"], high.parameters["alpha"], rtol=1e-3, atol=1e-5)


CHANGES = {
    "steps": 5,
    "patience": 1,
    "target": "expected",
    "cap": "mean",
    "objective": "learn",
    "retain_rows": 3,
    "forget_rows": 2,
    "autocast": True,
}


@pytest.mark.parametrize("field", list(FitConfig.model_fields))
def test_every_field_changes_the_fit(model, methods, runs, retain, field):
    assert field in CHANGES, f"say in CHANGES how '{field}' changes a fit"
    # Other objectives know no cap by token.
    cap = "mean" if field == "objective" else "token"
    found = [
        fit_many(model, methods["scales"], runs[3:4], retain, config)[0].parameters["alpha"]
        for config in (
            exact(**{"steps": 8, "cap": cap}),
            exact(**{"steps": 8, "cap": cap, field: CHANGES[field]}),
        )
    ]
    assert not torch.equal(*found)


def test_a_run_that_diverges_may_stay_where_it_was(model, methods, runs, retain):
    bad = Run(runs[1].forget, 33, 1.0, math.inf)
    good, diverged = fit_many(
        model, methods["scales"], [runs[0], bad], retain, exact(steps=6), keep_diverged=True
    )
    assert (good.diverged, diverged.diverged) == (False, True)
    assert diverged.steps < good.steps == 6
    (alone,) = fit_many(model, methods["scales"], runs[:1], retain, exact(steps=6))
    assert_equal_fits(good, alone)


def test_runs_of_one_text_share_its_rows(model, methods, runs, retain):
    """Two weights on one text, and another text between: each equals its own fit."""
    same_text = [runs[3], runs[1], dataclasses.replace(runs[3], retain_weight=0.0)]
    for run, fit in zip(
        same_text, fit_many(model, methods["scales"], same_text, retain, exact()), strict=True
    ):
        (alone,) = fit_many(model, methods["scales"], [run], retain, exact())
        assert_equal_fits(fit, alone)


@pytest.mark.parametrize("pattern", ["h.1.mlp.down_proj", "h.0.attn.q_proj"])
def test_at_the_base_the_tokens_that_follow_choose_the_first_step(model, retain, pattern):
    """There the expected loss has no gradient: rounding would choose, another on every machine."""
    lora, run = Lora(model, [pattern], rank=1), Run(spoken(model, 25, seed=4), 7, 0.5, 0.01)
    (expected,) = fit_many(model, lora, [run], retain, exact(steps=1, target="expected", cap="mean"))
    (sampled,) = fit_many(model, lora, [run], retain, exact(steps=1, target="sampled", cap="mean"))
    moved = expected.parameters[f"B:{pattern}"]
    assert (moved.abs() > 0.009).float().mean() > 0.9
    torch.testing.assert_close(moved, sampled.parameters[f"B:{pattern}"], rtol=1e-3, atol=1e-5)
