"""What the edited models write: the saved edit of each method, applied from its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rankone.edits.lowrank import LowRankEdit
from rankone.experiments.bench.cells import Cell
from rankone.experiments.config import BenchConfig
from rankone.experiments.measure import Rollout, rollout
from rankone.workspace import Workspace

EDITS = "edits"
LEAST_TOKENS = 4


def shown_setting(config: BenchConfig, method: str) -> tuple[int, int, float, str]:
    """The run whose edit is saved and shown: first seed, smallest budget from 4 tokens on, λ of the tuning, retain set."""
    budgets = config.budgets_of(method)
    budget = min((b for b in budgets if b >= LEAST_TOKENS), default=max(budgets))
    return 0, budget, config.weight(method, budget), config.pick_retain


def shown_cell(config: BenchConfig, cell: Cell) -> bool:
    """Whether a run's edit is saved and shown."""
    return (cell.seed, cell.budget, cell.retain_weight, cell.retain) == shown_setting(config, cell.method)


def saved_edits(out: Path, config: BenchConfig) -> dict[str, Path]:
    """Folder of the saved edit by method, of those that have one."""
    folders = {method: out / EDITS / method for method in config.methods}
    return {method: path for method, path in folders.items() if path.is_dir()}


def rollouts(
    workspace: Workspace, out: Path, config: BenchConfig, tokens: int = 32
) -> dict[str, list[Rollout]]:
    """Greedy continuations of the recipe's prompts before and after each saved edit."""
    edits = saved_edits(out, config)
    return {method: continued(workspace, path, config.prompts, tokens) for method, path in edits.items()}


def continued(
    workspace: Workspace, path: Path, prompts: Mapping[str, Sequence[str]], tokens: int = 32
) -> list[Rollout]:
    """Greedy continuations of prompts, by domain, before and after a saved edit."""
    model, tokenizer = workspace.model, workspace.tokenizer
    asked = [(d, p) for d, texts in prompts.items() for p in texts]
    before = [rollout(model, tokenizer, p, tokens) for _, p in asked]
    with LowRankEdit.from_pretrained(path).applied(model):
        after = [rollout(model, tokenizer, p, tokens) for _, p in asked]
    return [
        Rollout(prompt=p, domain=d, before=b, after=a)
        for (d, p), b, a in zip(asked, before, after, strict=True)
    ]
