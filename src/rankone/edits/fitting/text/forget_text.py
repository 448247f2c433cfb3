"""Where forget text comes from: so many tokens of a domain's training text, or the model's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rankone.core.errors import RankOneError
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.text.openings import openings_of
from rankone.edits.fitting.text.self_text import self_text
from rankone.text.blocks import Blocks
from rankone.text.budgets import budget_windows
from rankone.text.passages import domain_passages
from rankone.workspace import Workspace

# Passages between the starts of two seeds; prime, so that seeds stay apart when the order wraps round.
SEED_STRIDE = 7


def forget_text(
    workspace: Workspace, aim: Aim, budget: int, seed: int, openings: Sequence[str] = ()
) -> Blocks:
    """The forget text of one fit, on the device: of the aim's domain, or the model's own (`self:DOMAIN`, no corpus)."""
    if aim.self_text:
        return self_text(workspace, openings_of(aim.domain, openings), seed)
    if openings:
        raise RankOneError(f"openings are for the model's own text: ask for self:{aim.domain}.")
    return budget_text(workspace, aim.domain, budget, seed)


def budget_text(workspace: Workspace, domain: str, budget: int, seed: int) -> Blocks:
    """Exactly `budget` tokens of a domain's training text; every seed begins at another passage."""
    if budget < 1:
        raise RankOneError(f"the budget is {budget}; at least 1 forget token is needed.")
    corpus = workspace.corpus
    documents = domain_passages(corpus, domain, "train", max(20_000, 4 * budget))
    if not documents:
        raise RankOneError(
            f"the training text of '{domain}' in '{corpus.name}' is empty. Give text to forget."
        )
    order = torch.randperm(len(documents), generator=torch.Generator().manual_seed(0)).tolist()
    # Every seed starts elsewhere in one fixed order: none opens with another's passage, but one that needs more than
    # SEED_STRIDE of them goes on with its neighbour's.
    start = seed * SEED_STRIDE % len(order)
    chosen = [documents[i] for i in order[start:] + order[:start]]
    what = f"the training text of '{domain}'"
    windows = budget_windows(workspace.tokenizer, chosen, budget, workspace.context, what)
    return windows.to(workspace.device)
