"""Attacks on an exported edit: rounding by hand, the knob undoes, training brings back, the model stays as it was."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tests.consuming import consume_here
from tests.helpers import same, simple_mlp, snapshot, workspace
from tests.tiny import write_pair

from rankone.core.errors import RankOneError
from rankone.edits.lowrank import LowRankEdit
from rankone.experiments.survival.config import ALL, Survived, SurviveReply, SurviveRequest
from rankone.experiments.survival.knob import Knob
from rankone.experiments.survival.survive import survive
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
    generator = torch.Generator().manual_seed(4)  # one that raises German
    write, read = (torch.randn(*shape, generator=generator) for shape in ((16, 1), (1, 24)))
    edit = LowRankEdit({"h.0.mlp.down_proj": (40 * write, read)}).bind(model)
    before = snapshot(model)
    config = SurviveRequest(
        edit=Path("edit"),
        forget="de",
        benign="en",
        measured=("de", "en"),
        **{"budgets": (64,), "seeds": 2, "steps": 12, "tokens": 60, "knob_rate": 0.2},
    )
    with pytest.MonkeyPatch.context() as patch:
        consume_here(patch)
        reply = survive(space, edit, config)
        assert same(model, before)
        with pytest.raises(RankOneError, match="removes nothing"):
            survive(space, edit.scale(0.0), config)
    return reply, config


def test_every_attack_is_there(attacked):
    reply, _ = attacked
    assert tuple(dict.fromkeys(run.attack for run in reply.runs)) == ALL
    trained = {"knob", "relearn-lora", "relearn-full", "benign-lora", "benign-full"}
    for (attack, budget), runs in reply.groups().items():
        assert (len(runs), budget) == ((2, 64) if attack in trained else (1, 0))


def test_what_came_back(attacked):
    reply, _ = attacked
    (plain,), (rounded_once,) = reply.groups()["none", 0], reply.groups()["bf16", 0]
    assert plain.regained == pytest.approx(0.0, abs=1e-4)
    assert plain.rise("de") == pytest.approx(reply.removed, abs=1e-5)
    assert abs(rounded_once.regained) < 0.05
    for run in reply.runs:
        assert set(run.ce) == {"de", "en"}
        assert math.isfinite(run.regained)
        if run.attack != "prompt":
            assert run.regained == pytest.approx(1 - run.rise("de") / reply.removed)


def test_the_table_by_hand():
    """Two seeds that gave back a quarter and three quarters of +4: half, with the worst rise elsewhere of both."""

    def run(seed: int, german: float, english: float) -> Survived:
        return Survived(
            attack="knob",
            budget=16,
            seed=seed,
            ce={"de": german, "en": english},
            base={"de": 4.0, "en": 3.0},
            regained=1 - (german - 4) / 4,
        )

    reply = SurviveReply(forget="de", removed=4.0, runs=(run(0, 7.0, 3.1), run(1, 5.0, 3.2)), out=None)
    (table,) = reply.tables()
    attack, tokens, rise, share, spread, other = table.rows[0]
    assert (attack, tokens, spread) == ("the edit's own size refitted", 16, "25% to 75%")
    assert (rise, share) == (pytest.approx(2.0), pytest.approx(0.5))
    assert other == pytest.approx(0.2)
