"""Where a decomposition starts: counts by pattern, another run, the seed."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import recipe, target, trainer

from rankone.core.errors import RankOneError
from rankone.decomposition.init.start import count_for, new_decomposition
from rankone.decomposition.model import save_decomposition
from rankone.decomposition.training.loop import train
from rankone.models.sites import find_sites


def test_counts_come_from_the_first_matching_pattern():
    sites = {s.name: s for s in find_sites(target())}
    config = recipe(subcomponents={"*.q_proj": 10, "*attn*": 20})
    assert count_for(sites["h.0.attn.q_proj"], config) == 10
    assert count_for(sites["h.0.attn.k_proj"], config) == 20
    assert count_for(sites["h.0.mlp.c_fc"], config) == 12
    assert new_decomposition(target(), config).counts == [20, 20, 10, 20, 12, 12]


def test_a_count_below_one_is_refused():
    with pytest.raises(RankOneError, match=r"subcomponents\['\*q_proj'\] is 0"):
        new_decomposition(target(), recipe(subcomponents={"*q_proj": 0}))


@pytest.mark.parametrize("sites", [["*"], ["*mlp*"]])
def test_a_pattern_of_subcomponents_that_matches_no_site_is_refused(sites):
    pattern = "h.0.attn.q_prj" if sites == ["*"] else "h.0.attn.q_proj"
    with pytest.raises(RankOneError, match=rf"subcomponents\['{pattern}'\] matches none"):
        new_decomposition(target(), recipe(sites=sites, subcomponents={pattern: 10}))


def test_a_run_goes_on_from_another_one(tmp_path):
    first = trainer(recipe(steps=2, initialisation="random"))
    train(first, tmp_path, "hash")
    found = new_decomposition(target(), recipe(seed=9, continue_from=str(tmp_path)))
    expected = first.decomposition.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in found.state_dict().items())


def test_a_run_goes_on_from_a_finished_decomposition(tmp_path):
    model = target()
    first = new_decomposition(model, recipe(initialisation="random"))
    save_decomposition(first, model, tmp_path / "finished", {}, None, "float32")
    found = new_decomposition(model, recipe(seed=9, continue_from=str(tmp_path / "finished")))
    expected = first.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in found.state_dict().items())


@pytest.mark.parametrize(
    "changes",
    [
        {"importance__hidden": 16},
        {"importance__blocks": 2},
        {"subcomponents": {"*q_proj": 9}},
        {"sites": ["*mlp*"]},
    ],
)
def test_a_run_of_other_sizes_is_not_continued(tmp_path, changes):
    train(trainer(recipe(steps=1)), tmp_path, "hash")
    with pytest.raises(RankOneError, match="other sites, C or importance sizes"):
        new_decomposition(target(), recipe(**changes, continue_from=str(tmp_path)))


def test_a_run_that_is_not_there_is_not_continued(tmp_path):
    with pytest.raises(RankOneError, match="nowhere"):
        new_decomposition(target(), recipe(continue_from=str(tmp_path / "nowhere")))


def test_the_seed_decides_the_start():
    first, again, other = (
        new_decomposition(target(), recipe(seed=s, initialisation="random")) for s in (3, 3, 4)
    )
    state = first.state_dict()
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in state.items())
    assert not torch.equal(
        state["importance.project.weight"], other.state_dict()["importance.project.weight"]
    )
    assert not torch.equal(state["V.h-0-mlp-c_fc"], other.state_dict()["V.h-0-mlp-c_fc"])
