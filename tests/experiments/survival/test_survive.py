"""Attacks on an exported edit: rounding by hand, the knob undoes, training brings back, the model stays as it was."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.consuming import consume_here
from tests.helpers import same, simple_mlp, snapshot, workspace
from tests.tiny import write_pair

from rankone.core.errors import RankOneError
from rankone.edits.lowrank import LowRankEdit
from rankone.experiments.survival.config import ALL, Mean, SurviveReply, SurviveRequest
from rankone.experiments.survival.knob import Knob
from rankone.experiments.survival.left import Attacked, left_of
from rankone.experiments.survival.survive import survive
from rankone.experiments.survival.weights import quantised, rounded
from rankone.metrics.cross_entropy import PassageLosses
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
    generator = torch.Generator().manual_seed(2)  # one that raises German, and its second halves alone
    write, read = (torch.randn(*shape, generator=generator) for shape in ((16, 1), (1, 24)))
    edit = LowRankEdit({"h.0.mlp.down_proj": (40 * write, read)}).bind(model)
    before = snapshot(model)
    config = SurviveRequest(
        edit=Path("edit"),
        forget="de",
        benign="en",
        measured=("de", "en"),
        **{"budgets": (64,), "seeds": 2, "steps": 12, "tokens": 200, "knob_rate": 0.2},
    )
    with pytest.MonkeyPatch.context() as patch:
        consume_here(patch)
        reply = survive(space, edit, config)
        assert same(model, before)
        with pytest.raises(RankOneError, match="removes nothing"):
            survive(space, edit.scale(0.0), config)
        asked = {"seeds": 1, "seed": 1, "attacks": ("relearn-lora", "relearn-full")}
        second = survive(space, edit, config.model_copy(update=asked), control=False)
    return reply, second, space, edit


def test_a_later_seed_is_the_same_run_whatever_comes_before_it(attacked):
    reply, second = attacked[:2]
    for attack in ("relearn-lora", "relearn-full"):
        first, before = (run for run in reply.runs if run.attack == attack)
        (again,) = (run for run in second.runs if run.attack == attack)
        assert (first.seed, before.seed, again.seed) == (0, 1, 1)
        assert again.ce == pytest.approx(before.ce, abs=1e-4)
        assert again.ce != pytest.approx(first.ce, abs=1e-4)


def test_the_unedited_model_is_trained_only_where_that_is_asked_for(attacked):
    reply, second = attacked[:2]
    assert any(run.control for run in reply.runs)
    assert not any(run.control for run in second.runs)
    for run in second.runs:
        assert run.regained == pytest.approx(1 - run.rise("de") / second.removed)


def test_a_prompt_is_compared_with_the_same_tokens_without_it(attacked):
    reply, _, space, edit = attacked
    (run,) = (run for run in reply.runs if run.attack == "prompt")
    text = space.text(["de"], "test", 200)["de"]
    half = text.ids.shape[1] // 2
    ids = torch.cat([text.ids[:, :1], text.ids[:, half:]], 1)

    def losses(rows: torch.Tensor, start: int) -> float:
        with torch.no_grad():
            said = space.model(rows).logits[:, start - 1 : -1].log_softmax(-1)
        taken = -said.gather(2, rows[:, start:, None])[..., 0]
        return float(taken[text.valid[:, half:]].mean())

    plain = losses(text.ids, half), losses(ids, 1)
    with edit.applied(space.model):
        edited = losses(text.ids, half), losses(ids, 1)
    assert (run.base["de"], run.ce["de"]) == pytest.approx((plain[0], edited[0]), abs=1e-4)
    assert run.removed == pytest.approx(edited[1] - plain[1], abs=1e-4)


def test_every_attack_is_there(attacked):
    reply = attacked[0]
    assert tuple(dict.fromkeys(run.attack for run in reply.runs)) == ALL
    trained = {"knob", "relearn-lora", "relearn-full", "benign-lora", "benign-full"}
    assert [left.attack for left in reply.left] == list(ALL)
    for left in reply.left:
        assert (left.seeds, left.budget) == ((2, 64) if left.attack in trained else (1, 0))
        runs = [run for run in reply.runs if run.attack == left.attack]
        assert len(runs) == left.seeds
        assert left.rise.mean == pytest.approx(sum(run.rise("de") for run in runs) / len(runs))
        assert left.regained.mean == pytest.approx(sum(run.regained for run in runs) / len(runs))
        assert left.worst == "en"
        assert left.elsewhere is not None
        assert left.elsewhere.mean == pytest.approx(sum(run.rise("en") for run in runs) / len(runs))
        for mean in (left.rise, left.elsewhere):
            assert mean.low is not None
            assert mean.low <= mean.mean <= mean.high


def test_what_came_back(attacked):
    reply = attacked[0]
    plain, rounded_once = (next(r for r in reply.runs if r.attack == name) for name in ("none", "bf16"))
    assert plain.regained == pytest.approx(0.0, abs=1e-4)
    assert plain.rise("de") == pytest.approx(reply.removed, abs=1e-5)
    assert abs(rounded_once.regained) < 0.05
    for run in reply.runs:
        assert set(run.ce) == {"de", "en"}
        assert math.isfinite(run.regained)
        beside = run.base if run.control is None else run.control
        assert run.regained == pytest.approx(1 - (run.ce["de"] - beside["de"]) / run.removed)
        assert (run.removed == reply.removed) == (run.attack != "prompt")
        assert (run.control is not None) == (run.attack.startswith(("relearn", "benign")))


REMOVED = PassageLosses(torch.tensor([40.0, 40.0]).double(), torch.tensor([10, 10]))


def attack_of(
    seed: int | None, removed: PassageLosses = REMOVED, **nats: tuple[list[float], list[float]]
) -> Attacked:
    """Nats of two passages of 10 tokens before and after, by domain."""
    tokens = torch.tensor([10, 10])
    before, after = (
        {d: PassageLosses(torch.tensor(pair[at]).double(), tokens) for d, pair in nats.items()}
        for at in (0, 1)
    )
    return Attacked(16, seed, after, before, removed)


def test_damage_that_training_does_by_itself_is_no_part_of_what_is_left():
    """Of +4 nats 1 is left, and the unedited model too has lost 1 by the same training: all came back."""
    run = attack_of(0, de=([40, 40], [50, 50]))
    alike = PassageLosses(torch.tensor([50.0, 50.0]).double(), torch.tensor([10, 10]))
    left = left_of("relearn-full", [replace(run, control={"de": alike})], "de")
    assert (left.regained.mean, left.rise.mean) == pytest.approx((1.0, 1.0))


def test_the_table_by_hand():
    """Two seeds that gave back a quarter and three quarters of +4: half, and of the others the one that rises most."""
    runs = [
        attack_of(0, de=([40, 40], [70, 70]), en=([30, 30], [31, 31]), fr=([30, 30], [30, 30])),
        attack_of(1, de=([40, 40], [50, 50]), en=([30, 30], [32, 32]), fr=([30, 30], [32, 32])),
    ]
    left = left_of("knob", runs, "de")
    # Student's t with one degree of freedom; passages are alike, so nothing is added.
    assert (left.rise.mean, left.rise.high) == pytest.approx((2.0, 2.0 + 12.706 * 1.0), rel=1e-3)
    assert (left.regained.mean, left.regained.low) == pytest.approx((0.5, 0.5 - 12.706 * 0.25), rel=1e-3)
    reply = SurviveReply(forget="de", removed=4.0, runs=(), left=(left,), out=None)
    (table,) = reply.tables()
    shown = ("the edit's own size refitted", 16, "50% (−268% to 368%)", "en +0.15 (−0.49 to +0.79)")
    assert table.rows[0] == shown
    assert "95% intervals over seeds and passages" in table.caption
    (table,) = reply.model_copy(update={"left": (left.model_copy(update={"seeds": 1}),)}).tables()
    assert "training from a single seed has none" in table.caption


def test_what_draws_nothing_has_its_interval_over_passages_alone():
    """On one passage all comes back and on the other nothing: so it might be on any text of the two."""
    left = left_of("int8", [attack_of(None, de=([40, 40], [40, 80]))], "de")
    assert (left.seeds, left.worst, left.elsewhere) == (1, None, None)
    assert left.regained == Mean(mean=0.5, low=0.0, high=1.0)
    assert left.rise == Mean(mean=2.0, low=0.0, high=4.0)


def test_seeds_and_passages_are_joined():
    """A quarter of the draws have one passage alone."""
    runs = [attack_of(seed, de=([40, 40], [50 + 10 * seed, 70 + 10 * seed])) for seed in range(3)]
    rise = left_of("knob", runs, "de").rise
    over_seeds = 4.3027 * 1.0 / math.sqrt(3)  # Student's t of two degrees, the seeds 2, 3 and 4
    assert rise.mean == pytest.approx(3.0)
    assert rise.high == pytest.approx(3.0 + math.hypot(over_seeds, 1.0), rel=1e-3)


def test_a_share_of_what_is_removed_on_the_same_passages():
    """Half comes back on either passage, much as one has more to give back: the share is sure, the rise is not."""
    removed = PassageLosses(torch.tensor([20.0, 60.0]).double(), torch.tensor([10, 10]))
    left = left_of("int8", [attack_of(None, removed, de=([40, 40], [50, 70]))], "de")
    assert (left.regained.low, left.regained.high) == pytest.approx((0.5, 0.5))
    assert (left.rise.low, left.rise.high) == pytest.approx((1.0, 3.0))


def test_no_interval_is_made_up():
    """Of one seed of what draws, of one passage, of a removal that some passages do not have."""
    one = left_of("knob", [attack_of(0, de=([40, 40], [50, 60]))], "de")
    assert (one.rise.low, one.regained.high, one.regained.percent) == (None, None, "62%")
    nothing = PassageLosses(torch.tensor([-1.0, 60.0]).double(), torch.tensor([10, 10]))
    left = left_of("int8", [attack_of(None, nothing, de=([40, 40], [50, 60]))], "de")
    assert left.regained.low is None
    assert left.rise.low is not None
    short = {"de": PassageLosses(torch.tensor([5.0]).double(), torch.tensor([10]))}
    none = {"de": PassageLosses(torch.tensor([4.0]).double(), torch.tensor([10]))}
    alone = left_of("int8", [Attacked(0, None, short, none, none["de"])], "de")
    assert (alone.rise.mean, alone.rise.low) == (pytest.approx(0.1), None)


def test_passages_without_a_scored_token_decide_nothing():
    """As where a prompt takes all of a short row: one that is left has no interval, two that are have theirs."""
    tokens = torch.tensor([10, 0, 0, 0])
    before = {"de": PassageLosses(torch.tensor([40.0, 0, 0, 0]).double(), tokens)}
    after = {"de": PassageLosses(torch.tensor([60.0, 0, 0, 0]).double(), tokens)}
    whole = PassageLosses(torch.tensor([40.0] * 4).double(), torch.tensor([10] * 4))
    left = left_of("prompt", [Attacked(0, None, after, before, whole)], "de")
    assert (left.rise.mean, left.rise.low, left.regained.low) == (pytest.approx(2.0), None, None)
    tokens[1] = 10
    two = {d: PassageLosses(losses.sums, tokens) for d, losses in after.items()}
    base = {"de": PassageLosses(before["de"].sums, tokens)}
    left = left_of("prompt", [Attacked(0, None, two, base, whole)], "de")
    assert (left.rise.low, left.rise.mean, left.rise.high) == pytest.approx((0.0, 1.0, 2.0))
