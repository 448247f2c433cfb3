"""Separation: by hand, the same for a neuron scored without its part, and what is most apart comes first."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import gpt2, llama, probe, simple_mlp

from rankone.edits.finding.shortlist import TextMoments, apart_coordinates, energies, separations, shortlist
from rankone.models.sites import find_sites
from rankone.parts.moments import SiteMoments, collect_moments
from rankone.parts.parts import Parts
from rankone.parts.sources import make_parts


def moments(x: torch.Tensor, weight: torch.Tensor) -> dict[str, SiteMoments]:
    return {"a.0.b": SiteMoments(x.T @ x / len(x), False, x.mean(0), x.square().mean(0), weight)}


def test_separation_is_the_mean_over_the_largest_root_mean_square_elsewhere():
    weight = torch.eye(2)
    target = moments(torch.tensor([[4.0, 1.0], [2.0, -1.0]]), weight)
    others = {
        "en": moments(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), weight),
        "es": moments(torch.tensor([[2.0, 3.0], [0.0, 3.0]]), weight),
    }
    parts = Parts({"a.0.b": (torch.eye(2), torch.eye(2))}, "x")
    score, covered = separations(parts, TextMoments(target, others))
    assert score.tolist() == pytest.approx([3 / 2**0.5, 0.0])
    assert covered.tolist() == pytest.approx([9 / 10, 0.0])
    lenient, _ = separations(parts, TextMoments(target, others, {"es": 1 / 4}))
    assert lenient[0].item() == pytest.approx(3)  # 2**0.5 / 2 is now below English's 1
    (best,) = shortlist(parts, "x", TextMoments(target, others), 1)
    assert (best.name, best.site) == ("x/a.0.b:0", "a.0.b")


@pytest.mark.parametrize("build", [simple_mlp, gpt2, llama])
@pytest.mark.parametrize("side", ["input", "smaller"])
def test_coordinates_are_scored_without_their_parts(build, side):
    model = build()
    sites = find_sites(model, None)
    target, *rest = (collect_moments(model, sites, probe(6, seed=s), side=side) for s in range(3))
    texts = TextMoments(target, dict(zip(("en", "es"), rest, strict=True)))
    for source in ("neuron", "channel"):
        parts = make_parts(source, sites)
        own = [s for s in sites if s.name in parts.sites]
        found = apart_coordinates(own, texts, 1)
        if side == "smaller":  # one-hot reads are not in the span that an output's moment tells of
            continue
        score, _ = separations(parts, texts)
        for site, part in zip(own, score.split(parts.counts), strict=True):
            assert float(part[found[site.name][0]]) == pytest.approx(float(part.max()), rel=1e-3)


def test_energies_agree_whichever_moment_was_kept():
    model = simple_mlp()
    sites = find_sites(model, ["*.down_proj"])
    parts = make_parts("random", sites, count=3)
    for name in parts.sites:
        read = parts.factors(name)[0]
        whole, small = (
            energies(read, collect_moments(model, sites, probe(), side=s)[name]) for s in ("input", "smaller")
        )
        torch.testing.assert_close(whole, small, rtol=1e-3, atol=1e-5)
