"""Fitted and sized: within the tolerance, of both signs the better, several scales fitted before they are sized."""

from __future__ import annotations

import math

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import probe, simple_mlp

from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.config import FitConfig
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Run
from rankone.edits.fitting.size import damages, find_limit, removals
from rankone.edits.fitting.sized import fit_sized, width_groups
from rankone.edits.scales import both_signs, scale_edit
from rankone.text.blocks import Blocks

PART = "h.1.mlp.c_fc:30"


def blocks(rows: int, length: int, seed: int) -> Blocks:
    ids = probe(rows, length, seed)
    return Blocks(ids, torch.arange(length).expand(rows, length) > 0)


@pytest.fixture(scope="module")
def model():
    return simple_mlp()


@pytest.fixture(scope="module")
def parts(model):
    return decomposed(model, "random")


@pytest.fixture(scope="module")
def retain(model):
    return RetainText(model, {"en": blocks(3, 9, 1), "fr": blocks(2, 9, 2)})


AIM = Aim(forget="de", retain=("en", "fr"), chance=math.log(300), tolerance=0.01)


def test_one_scale_is_sized_without_a_fit_and_the_better_sign_wins(model, parts, retain):
    runs = [Run(blocks(1, 6, seed), seed, 1.0, 0.1, 1.5) for seed in range(3)]
    fits = fit_sized(model, both_signs(parts, [PART]), runs, retain, AIM, FitConfig(steps=2))
    assert [fit.run.seed for fit in fits] == [0, 1, 2]
    limits = {}
    for sign in (-1, 1):
        edit = scale_edit(parts, {PART: 1 + 3.0 * sign})
        limits[sign] = find_limit(model, edit, retain.text, AIM).size
    for fit in fits:
        assert fit.steps == 0
        alpha = float(fit.parameters["alpha"][0])
        assert fit.sized is not None
        assert fit.sized.worst <= AIM.tolerance
        assert alpha == pytest.approx(
            1 + math.copysign(3.0 * limits[int(math.copysign(1, alpha - 1))], alpha - 1), rel=1e-3
        )
        found = damages(model, fit.edit, [1.0], retain.text).max()
        assert float(found) == pytest.approx(fit.sized.worst, rel=1e-3)
        own, other = (
            removals(model, scale_edit(parts, {PART: 1 + 3.0 * sign * limits[sign]}), [1.0], fit.run.forget)[
                0
            ].mean
            for sign in (int(math.copysign(1, alpha - 1)), -int(math.copysign(1, alpha - 1)))
        )
        assert own >= other - 1e-6


def test_several_scales_are_fitted_first(model, parts, retain):
    starts = both_signs(parts, [PART, "h.0.attn.v_proj:3"])
    assert [float(s.start(1, [0])["alpha"][0, 0]) for s in starts] == pytest.approx(
        [1 - 3 / 2**0.5, 1 + 3 / 2**0.5]
    )
    (fit,) = fit_sized(model, starts, [Run(blocks(1, 6, 5), 0, 1.0, 0.1)], retain, AIM, FitConfig(steps=3))
    assert fit.steps == 3
    assert fit.sized is not None
    assert 0.9 * AIM.tolerance < fit.sized.worst <= AIM.tolerance or fit.sized.reached
    edit = scale_edit(
        parts, dict(zip([PART, "h.0.attn.v_proj:3"], fit.parameters["alpha"].tolist(), strict=True))
    )
    for site in edit.sites:
        own, other = (e.factors[site].write @ e.factors[site].read for e in (fit.edit, edit))
        torch.testing.assert_close(own, other)


def test_each_fit_of_several_scales_has_a_limit_of_its_own(model, parts, retain):
    starts = both_signs(parts, [PART, "h.0.attn.v_proj:3"])[:1]
    runs = [Run(blocks(1, 6, seed), seed, 1.0, rate) for seed, rate in ((5, 0.01), (6, 1.0))]
    config = FitConfig(steps=3, autocast=False)
    together = fit_sized(model, starts, runs, retain, AIM, config)
    for run, fit in zip(runs, together, strict=True):
        (alone,) = fit_sized(model, starts, [run], retain, AIM, config)
        assert fit.sized is not None
        assert alone.sized is not None
        assert fit.sized.size == pytest.approx(alone.sized.size, rel=1e-3)


def test_the_margin_of_a_run_is_its_cap(model, parts, retain):
    """A cap below what the model is at already is reached at once, by the smallest size tried."""
    text = blocks(4, 12, 3)
    low, high = (Run(text, 0, 1.0, 0.1, margin) for margin in (0.3, 3.0))
    small, large = fit_sized(model, both_signs(parts, [PART]), [low, high], retain, AIM, FitConfig())
    assert small.sized is not None
    assert large.sized is not None
    assert small.sized.reached
    assert not large.sized.reached
    assert small.sized.size < large.sized.size


def test_rows_of_like_width_are_fitted_together():
    runs = [Run(blocks(1, width, 0), 0, 1.0, 0.1) for width in (60, 4, 9, 50, 5)]
    assert width_groups(runs) == [[1, 4, 2], [3, 0]]
