"""A toy from its recipe: train the target, decompose it with the trainer of every other model, compare with the truth."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from rankone.core.artifact import new_artifact, refuse_existing, write_json
from rankone.core.errors import RankOneError
from rankone.core.paths import run_directory
from rankone.decomposition.ground_truth.recipe import ToyRecipe
from rankone.decomposition.ground_truth.recovery import SiteScore, score, truth_of
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.training.loop import train
from rankone.decomposition.training.trainer import Trainer
from rankone.models.toys.targets import TMS, ResidMLP, sparse_features, train_toy
from rankone.runtime.places import holds

KIND = "toy"


class SeedScore(SiteScore):
    """The score of a site in the run of one seed."""

    seed: int


def run_toy(recipe: ToyRecipe, seed: int, run: Path, device: torch.device | None = None) -> list[SiteScore]:
    """Scores per site for one seed; a decomposition cut off goes on from its last checkpoint in `run`.

    device: where it is decomposed, None for the CPU, where the target is trained in any case.
    """
    config = recipe.decomposition.model_copy(update={"seed": seed})
    target = train_toy(recipe.target, seed).to(device)
    decomposition = new_decomposition(target, config)
    _refuse_few(
        dict(zip(decomposition.sites, decomposition.counts, strict=True)), target, recipe.target.features
    )
    trainer = Trainer(target, decomposition, _batches(recipe, seed), config)
    key = json.dumps([recipe.model_dump(), seed], sort_keys=True)
    train(trainer, run, hashlib.sha256(key.encode()).hexdigest(), log_every=100)
    decomposition.eval().requires_grad_(False)
    return score(target.cpu(), decomposition.cpu(), recipe.target.features)


@holds("out")
def run_toys(recipe: ToyRecipe, seeds: int, out: Path, device: torch.device | None = None) -> list[SeedScore]:
    """Scores of seeds 0 … seeds − 1, written with the recipe as an artefact to `out`; runs are kept in OUT.run."""
    refuse_existing(out)
    rows = []
    for seed in range(seeds):
        scores = run_toy(recipe, seed, run_directory(out) / f"seed-{seed}", device)
        rows += [SeedScore(seed=seed, **dict(score)) for score in scores]
    with new_artifact(out, KIND, {"recipe": recipe.model_dump()}) as staging:
        write_json(staging / "scores.json", {"rows": [row.plain() for row in rows]}, constants=True)
    return rows


def _batches(recipe: ToyRecipe, seed: int) -> Callable[[int], Tensor]:
    """Features [rows, context, n] of a step; drawn from the step, so that a resumed run sees the same."""
    config = recipe.decomposition

    def batch(step: int) -> Tensor:
        generator = torch.Generator().manual_seed((seed + 1) * 7_654_321 + step)
        return sparse_features(recipe.target, (config.rows, config.context), generator)

    return batch


def _refuse_few(counts: dict[str, int], target: TMS | ResidMLP, features: int) -> None:
    """Refuse a site with fewer subcomponents than it has true mechanisms."""
    for site, truth in truth_of(target).items():
        needed, what = (features, "features") if truth.dense is None else (truth.dense, "dense dimensions")
        if counts.get(site, needed) < needed:
            raise RankOneError(
                f"'{site}' has {counts[site]} subcomponents for {needed} {what}: the truth does not fit. "
                f"Set subcomponents['{site}'] to at least {needed}."
            )
