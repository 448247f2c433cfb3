"""Checking the predictors on a tiny model: what is chosen, and scores that are those of the rises."""

from __future__ import annotations

import pytest
import torch
from perf.predictors import (
    CheckConfig,
    check,
    check_table,
    chosen_parts,
)
from tests.experiments.investigation.world import DOMAINS, made

from rankone.core.errors import RankOneError
from rankone.experiments.investigation.prediction import PREDICTORS
from rankone.harvest.reading.summary import Importances
from rankone.metrics.rank_statistics import spearman

CONFIG = CheckConfig(parts=6, alphas=(-1.0, -30.0), tokens=50, draws=1)


@pytest.fixture(scope="module")
def world(tokenizer, corpus, tmp_path_factory):
    return made(tokenizer, corpus, tmp_path_factory.mktemp("predictors"))


@pytest.fixture(scope="module")
def found(world):
    return check(world.workspace, world.store, CONFIG)


def test_scores_are_those_of_the_rises(found):
    def rise(split, alpha, part):
        rows = [r for r in found.rises if (r.split, r.alpha, r.part) == (split, alpha, part)]
        assert [r.domain for r in rows] == list(DOMAINS)
        return torch.tensor([r.rise for r in rows])

    assert len(found.parts) == 6
    for alpha in CONFIG.alphas:
        each = [spearman(*(rise(split, alpha, c) for split in ("validation", "test"))) for c in found.parts]
        assert None not in each
        score = found.repeated[alpha]
        assert score.parts == 6
        assert score.domains_mean == pytest.approx(sum(each) / 6)
    # The tiny corpus gives the same text for every split, so what was measured repeats itself.
    assert score.pooled == pytest.approx(1.0)


def test_the_best_is_best_on_validation_text(found):
    scores = {
        name: sum(score.domains_mean or 0.0 for score in by_alpha.values())
        for name, by_alpha in found.scores["validation"].items()
    }
    assert list(scores) == list(PREDICTORS)
    assert scores[found.best] == max(scores.values())
    assert f"▸ {found.best.words}" in check_table(found).column("predictor")


def test_half_are_specific_and_all_are_alive():
    mean = torch.zeros(2, 8)
    mean[0] = torch.tensor([0.9, 0.0, 0.5, 0.2, 0.2, 0.001, 0.0, 0.1])
    mean[1] = torch.tensor([0.0, 0.8, 0.0, 0.2, 0.1, 0.001, 0.0, 0.6])
    importances = Importances(["a", "b"], [f"s:{i}" for i in range(8)], mean, {"a": 10, "b": 10})
    chosen = chosen_parts(importances, 5)
    assert chosen[:2] == ["s:0", "s:1"]
    assert len(set(chosen)) == 5
    assert not {"s:5", "s:6"} & set(chosen)
    assert chosen_parts(importances, 5) == chosen
    assert len({tuple(chosen_parts(importances, 5, seed)) for seed in range(8)}) > 1
    with pytest.raises(RankOneError, match="only 6 subcomponents"):
        chosen_parts(importances, 7)
