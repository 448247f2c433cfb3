"""Attacks on an exported edit: rounding by hand, the knob undoes, training brings back, the model stays as it was."""

from __future__ import annotations

import math

import pytest
import torch
from tests.helpers import same, simple_mlp, snapshot, workspace
from tests.tiny import write_pair

from rankone.edits.lowrank import LowRankEdit
from rankone.experiments.survival import survive as module
from rankone.experiments.survival.config import SurvivalConfig
from rankone.experiments.survival.knob import Knob
from rankone.experiments.survival.survive import mean_regained, survive
from rankone.experiments.survival.weights import quantised, rounded
from rankone.models.loading import load_model
from rankone.models.sites import find_sites, weight_of


def test_rounding_by_hand():
    """Four bits: levels −7 … 7; two neighbours share a scale of their largest / 7."""
    weight = torch.tensor([[7.0, 3.4, -0.7, 0.3, 2.0]])
    found = rounded(weight, 4, 2)
    torch.testing.assert_close(found, torch.tensor([[7.0, 3.0, -0.7, 0.3, 2.0]]))
    assert rounded(weight, 8, 5)[0, 1] == pytest.approx(round(3.4 / (7 / 127)) * 7 / 127)


def test_quantising_makes_a_copy():
    model = simple_mlp()
    before = snapshot(model)
    few = quantised(model, 4)
    assert same(model, before)
    for one, other in zip(find_sites(model, ["*"]), find_sites(few, ["*"]), strict=True):
        error = (weight_of(one) - weight_of(other)).abs().max() / weight_of(one).abs().max()
        assert 0 < error < 0.08
    assert torch.equal(model.wte.weight, few.wte.weight)


def test_the_knob_at_minus_one_undoes_an_edit():
    model = simple_mlp()
    edit = LowRankEdit({"h.1.mlp.down_proj": (torch.randn(24, 1), torch.randn(1, 40))})
    ids = torch.randint(0, 300, (1, 8))
    plain = model(ids).logits
    undone = Knob(edit).edit({"size": torch.tensor([-1.0])}, 0)
    with edit.applied(model), undone.applied(model):
        torch.testing.assert_close(model(ids).logits, plain, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory, tokenizer, corpus):
    folder, _ = write_pair(tmp_path_factory.mktemp("survive"), tokenizer, len(tokenizer))
    model = load_model(folder)
    space = workspace(model, None, tokenizer, corpus)
    generator = torch.Generator().manual_seed(0)
    write, read = (torch.randn(*shape, generator=generator) for shape in ((16, 1), (1, 24)))
    edit = LowRankEdit({"h.0.mlp.down_proj": (4 * write, read)}).bind(model)
    before = snapshot(model)
    config = SurvivalConfig(budgets=(64,), seeds=2, steps=12, tokens=60, knob_rate=0.2)
    rows = survive(space, edit, config)
    assert same(model, before)
    return rows, config


def test_every_attack_is_there(attacked):
    rows, config = attacked
    assert tuple(dict.fromkeys(row.attack for row in rows)) == config.attacks
    trained = {"knob", "relearn-lora", "relearn-full", "benign-lora", "benign-full"}
    for attack in config.attacks:
        assert sum(row.attack == attack for row in rows) == (2 if attack in trained else 1)


def test_what_came_back(attacked):
    rows, _ = attacked
    came = mean_regained(rows)
    assert came["none", 0] == pytest.approx(0.0, abs=1e-4)
    assert abs(came["bf16", 0]) < 0.05
    for row in rows:
        assert set(row.ce) == {"de", "en"}
        assert math.isfinite(row.regained)


def test_the_share_that_came_back_by_hand():
    """From 4 to 8 by the edit, back to 5: three quarters."""
    row = module._row("knob", 16, 1, {"de": 5.0}, {"de": 4.0}, {"de": 8.0}, "de")
    assert row.regained == pytest.approx(0.75)
    assert mean_regained([row, row.model_copy(update={"regained": 0.25})]) == {("knob", 16): 0.5}
