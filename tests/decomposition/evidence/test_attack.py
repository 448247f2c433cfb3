"""The adversary against a plain one, and its ladder."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.decomposition.evidence.texts import LONGEST, evidence_text

from rankone.core.errors import RankOneError
from rankone.decomposition.evidence.attack import adversarial_rows, ladder_to, restricted_attack


def plain_pgd(text, steps, delta):
    """KL after `steps` ascents of one vector shared over all positions: signed gradient, step .1, clamp."""
    decomposition, g = text.model.decomposition, text.importance
    total, sites = decomposition.total, len(decomposition.sites)
    source = torch.rand(total + sites * delta, generator=torch.Generator().manual_seed(0))

    def divergence(vector):
        own = vector[total:].expand(5, LONGEST, -1) if delta else None
        logits = text.model.masked(text.ids, g + (1 - g) * vector[:total], own)
        log_p, log_q = (F.log_softmax(x.float(), -1) for x in (text.clean, logits))
        return F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(-1)[text.present].mean()

    for _ in range(steps):
        leaf = source.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            loss = divergence(leaf)
        (gradient,) = torch.autograd.grad(loss, leaf)
        source = (source + 0.1 * gradient.sign()).clamp(0, 1)
    return divergence(source).item()


@pytest.mark.parametrize("delta", [False, True])
def test_the_ladder_gives_the_last_iterate_of_one_trajectory(delta):
    # An aligned start has no delta to speak of: its sources would climb rounding errors.
    text = evidence_text("random" if delta else "aligned")
    ladder = (1, 3, 6)
    rows = adversarial_rows(text, ladder, delta)
    assert [row.title for row in rows] == [f"adversarial, {n} PGD steps" for n in ladder]
    assert {row.delta for row in rows} == {delta}
    for row, steps in zip(rows, ladder, strict=True):
        assert row.kl == pytest.approx(plain_pgd(text, steps, delta), rel=0.02), steps
    assert rows[0].kl < rows[1].kl < rows[2].kl


def test_an_adversary_has_no_say_where_the_importance_is_one():
    text = evidence_text()
    text.importance = torch.ones_like(text.importance)
    assert adversarial_rows(text, (2,), delta=False)[0].kl < 1e-6


def test_a_longer_ladder_does_not_change_its_shorter_steps():
    text = evidence_text()
    short, long = adversarial_rows(text, (2,), False), adversarial_rows(text, (2, 4), False)
    assert short[0] == long[0]


@pytest.mark.parametrize(
    ("steps", "rungs"),
    [(1, (1,)), (10, (10,)), (20, (10, 20)), (80, (10, 20, 40, 80)), (100, (10, 20, 40, 80, 100))],
)
def test_rungs_double_up_to_the_steps_asked_for(steps, rungs):
    assert ladder_to(steps) == rungs
    assert ladder_to(1280)[-3:] == (320, 640, 1280)
    with pytest.raises(RankOneError, match="0 steps"):
        ladder_to(0)


def test_the_worst_restart_counts_and_the_spread_is_told():
    text = evidence_text()
    alone = [adversarial_rows(text, (1, 3), False, seed=i) for i in (5, 6, 7)]
    together = adversarial_rows(text, (1, 3), False, seed=5, restarts=3)
    for rung in (0, 1):
        every = [rows[rung].kl for rows in alone]
        assert len(set(every)) == 3
        assert together[rung].kl_restarts == tuple(every)
        assert together[rung].kl == max(every)
        assert together[rung].ce == alone[every.index(max(every))][rung].ce
        assert together[rung].kl_spread == max(every) - min(every)
    assert alone[0][0].kl_spread == 0


def test_a_restricted_adversary_leaves_the_others_on():
    text = evidence_text()
    total = text.importance.shape[-1]
    nothing = restricted_attack(text, torch.zeros(total, dtype=torch.bool), 3)
    assert nothing.kl < 1e-6  # an aligned start with all masks at one is exact
    some = restricted_attack(text, torch.arange(total) < 8, 3).kl
    every = restricted_attack(text, torch.ones(total, dtype=torch.bool), 3).kl
    assert nothing.kl < some < every
    assert every == pytest.approx(adversarial_rows(text, (3,), False)[0].kl, rel=1e-3)
