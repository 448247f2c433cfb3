"""Fresh sources: drawn anew at every step, moved by the sign of the gradient, and by nothing else."""

from __future__ import annotations

import itertools

import torch
from tests.decomposition.tiny import recipe, trainer

from rankone.decomposition.adversary.config import FreshConfig
from rankone.decomposition.adversary.fresh import FreshAdversary
from rankone.decomposition.masking.draws import RowDraws

ROWS, LENGTH, CHANNELS = 3, 4, 2
ALL = torch.ones(ROWS, 1, 1, dtype=torch.bool)


def adversary(**changes):
    config = FreshConfig(kind="fresh", **changes)
    return FreshAdversary(config, ROWS, LENGTH, CHANNELS, RowDraws(0, torch.device("cpu")))


def test_an_ascent_by_hand():
    found = adversary(scope="c")
    found.source = torch.tensor([[[0.3, 0.9]]])
    found.ascend(torch.tensor([[[1e-6, 5.0]]]), 0.2, ALL)
    torch.testing.assert_close(found.source, torch.tensor([[[0.5, 1.0]]]))
    found.ascend(torch.tensor([[[-3.0, 0.0]]]), 0.2, ALL)
    torch.testing.assert_close(found.source, torch.tensor([[[0.3, 1.0]]]))


def test_every_step_starts_anew():
    found = adversary(scope="bsc")
    assert found.source.shape == (ROWS, LENGTH, CHANNELS)
    seen = []
    for step in range(3):
        found.begin(found.draws.at(step))
        seen.append(found.source)
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(seen))
    assert found.tensors() == {}


def test_a_step_searches_as_often_as_asked_and_learns_nothing_from_its_own_pass():
    for form, passes in (("merged", 4), ("separate", 5)):
        adversary = {"kind": "fresh", "steps": 3, "step_size": 0.4, "fraction": 1.0}
        run = trainer(recipe(reconstruction__form=form, adversary=adversary))
        masked, sources = run.model.masked, []

        def recorded(*given, masked=masked, sources=sources, run=run):
            sources.append(run.adversary.source.clone())
            return masked(*given)

        run.model.masked = recorded
        with run.model:
            row = run.step(0)
        assert len(sources) == passes
        moved = (sources[1] - sources[0]).abs()
        assert moved.max() <= 0.4 + 1e-6
        assert (moved > 0.39).any()
        assert torch.equal(run.adversary.source, sources[-1])
        assert "kl_adversarial" in row


def test_the_search_raises_the_divergence():
    found = []
    for steps in (0, 4):
        adversary = {"kind": "fresh", "steps": steps, "step_size": 0.3, "fraction": 1.0, "scope": "bsc"}
        run = trainer(recipe(rows=8, adversary=adversary, initialisation="random"))
        with run.model:
            found.append(run.step(0)["kl_adversarial"])
    assert found[1] > 1.2 * found[0]
