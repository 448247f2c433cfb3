"""RMU's loss by hand; its fit leads the text to forget away and holds the rest; a stack equals each run alone."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.helpers import probe, simple_mlp
from torch import nn

from rankone.core.errors import RankOneError
from rankone.edits.adapters import adapted
from rankone.edits.fitting.adam import StackedAdam
from rankone.edits.fitting.config import FitConfig
from rankone.edits.fitting.fit import fit_many
from rankone.edits.fitting.misdirection import PRICE, SIZE, Misdirection, last_block, residual
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Run
from rankone.edits.methods.lora import Lora
from rankone.text.blocks import Blocks

CONFIG = FitConfig(steps=40, patience=40, objective="rmu", target="sampled")


def blocks(rows, length, seed):
    ids = probe(rows, length, seed=seed)
    valid = torch.ones_like(ids, dtype=torch.bool)
    valid[:, 0] = False
    return Blocks(ids, valid)


@pytest.fixture(scope="module")
def model():
    return simple_mlp()


@pytest.fixture
def asked(model):
    method = Lora(model, ["h.0.mlp.down_proj"], 1, name="rmu")
    runs = [Run(blocks(1, 7, seed), seed, weight, 0.01) for seed, weight in ((1, 1.0), (2, 4.0))]
    return method, runs, RetainText(model, blocks(2, 9, 5))


def test_the_residual_is_that_of_the_whole_forward(model):
    seen = []
    handle = model.get_submodule("h.0").register_forward_hook(lambda *given: seen.append(given[2]))
    ids = probe(2, 6)
    with torch.no_grad():
        model(ids)
        handle.remove()
        whole = seen[0] if isinstance(seen[0], torch.Tensor) else seen[0][0]
        torch.testing.assert_close(residual(model, "h.0", ids), whole)


class Pair(nn.Module):
    """A block that gives its stream first in a tuple, as many families do."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, *given, **named):
        return self.block(*given, **named), None


def test_of_a_block_that_gives_several_things_the_first_is_the_residual(model):
    paired, ids = copy.deepcopy(model), probe(2, 6)
    paired.h[0] = Pair(paired.h[0])
    with torch.no_grad():
        torch.testing.assert_close(residual(paired, "h.0", ids), residual(model, "h.0", ids))


@pytest.mark.parametrize("rows", [1, 2])
def test_the_loss_by_hand(model, asked, rows):
    method, runs, retain = asked
    config = CONFIG.model_copy(update={"retain_rows": rows})
    loss = Misdirection(model, method, runs, retain, config)
    assert loss.block == "h.0"
    generator = torch.Generator().manual_seed(0)
    start = {k: p.detach() for k, p in method.start(2, [1, 2]).items()}
    parameters = {k: p + 0.1 * torch.randn(p.shape, generator=generator) for k, p in start.items()}
    adam = StackedAdam(parameters, [0.01, 0.01], 10)
    found = loss.at(0, adam)
    for i, run in enumerate(runs):
        own = {k: p[i : i + 1] for k, p in parameters.items()}
        with torch.no_grad(), adapted(model, method, own, 1):
            led, moved = residual(model, "h.0", run.forget.ids)[0], residual(model, "h.0", retain.ids[:rows])
        with torch.no_grad():
            first, held = residual(model, "h.0", run.forget.ids)[0], residual(model, "h.0", retain.ids[:rows])
        goal = SIZE * first.norm(dim=-1)[run.forget.valid[0]].mean() * loss.directions[i]
        scored = run.forget.valid[0]
        away = (led - goal).square().sum(-1)[scored].mean() / first.square().sum(-1)[scored].mean()
        off = (moved - held).square().sum(-1).mean() / held.square().sum(-1).mean()
        expected = away + run.retain_weight * PRICE * off
        assert float(found[i].detach()) == pytest.approx(float(expected), rel=1e-4)


def test_a_fit_leads_forget_text_away_and_a_stack_equals_each_run(model, asked):
    method, runs, retain = asked
    fits = fit_many(model, method, runs, retain, CONFIG)
    for i, run in enumerate(runs):
        (alone,) = fit_many(model, method, [run], retain, CONFIG)
        for name, value in alone.parameters.items():
            torch.testing.assert_close(value, fits[i].parameters[name], rtol=1e-3, atol=1e-4)
    loss = Misdirection(model, method, runs, retain, CONFIG)
    start = {k: p.detach() for k, p in method.start(2, [1, 2]).items()}
    first = loss.at(0, StackedAdam(start, [0.01, 0.01], 10))
    fitted = {k: torch.stack([fit.parameters[k] for fit in fits]) for k in start}
    assert (loss.at(0, StackedAdam(fitted, [0.01, 0.01], 10)) < 0.9 * first).all()


def test_sites_outside_blocks_are_refused(model):
    with pytest.raises(RankOneError, match="no residual stream"):
        last_block(model, ["lm_head"])
