"""What the edited models write: the saved edit of each method, applied from its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rankone.edits.lowrank import LowRankEdit
from rankone.experiments.bench.cells import Cell
from rankone.experiments.bench.config import BenchConfig
from rankone.experiments.measure import Rollout, rollout
from rankone.workspace import Workspace

EDITS = "edits"
LEAST_TOKENS = 4


def shown_cell(config: BenchConfig, cell: Cell) -> bool:
    """Whether a run's edit is saved and shown: first seed, smallest budget from 4 tokens on, λ of the tuning."""
    enough = [b for b in sorted(config.budgets) if b >= LEAST_TOKENS]
    budget = enough[0] if enough else max(config.budgets)
    weights = config.weights_of(cell.method)
    weight = min(weights, key=lambda w: (abs(w - config.tuning_weight), w))
    return (cell.seed, cell.budget, cell.retain_weight) == (
        0,
        budget,
        weight,
    ) and cell.retain == config.pick_retain


def saved_edits(out: Path, config: BenchConfig) -> dict[str, Path]:
    """Folder of the saved edit by method, of those that have one."""
    folders = {method: out / EDITS / method for method in config.methods}
    return {method: path for method, path in folders.items() if path.is_dir()}


def rollouts(
    workspace: Workspace, out: Path, config: BenchConfig, tokens: int = 32
) -> dict[str, list[Rollout]]:
    """Greedy continuations of the recipe's prompts before and after each saved edit."""
    prompts = [(d, p) for d, texts in config.prompts.items() for p in texts]
    before = {p: rollout(workspace.model, workspace.tokenizer, p, tokens) for _, p in prompts}
    return {
        method: _continued(workspace, LowRankEdit.from_pretrained(path), prompts, before, tokens)
        for method, path in saved_edits(out, config).items()
    }


def _continued(
    workspace: Workspace,
    edit: LowRankEdit,
    prompts: list[tuple[str, str]],
    before: Mapping[str, str],
    tokens: int,
) -> list[Rollout]:
    with edit.applied(workspace.model):
        after = [rollout(workspace.model, workspace.tokenizer, p, tokens) for _, p in prompts]
    return [
        Rollout(prompt=p, domain=d, before=before[p], after=a)
        for (d, p), a in zip(prompts, after, strict=True)
    ]
