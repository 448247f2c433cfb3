"""What turning subcomponents does to every token: cross-entropies under many settings of the scales in one forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.edits.adapters import adapted
from rankone.edits.scales import Scales
from rankone.metrics.cross_entropy import LOGITS_AT_ONCE, next_token_losses
from rankone.text.blocks import Blocks
from rankone.text.vocabulary import spelling, with_neighbours
from rankone.workspace import Workspace

# Predictions made so many positions after a strong activation are counted as near it.
NEAR = 5


def token_losses(
    workspace: Workspace,
    settings: Sequence[Mapping[str, float]],
    blocks: Blocks,
    advance: Callable[[int], None] | None = None,
) -> Float[Tensor, "settings rows length"]:
    """Cross-entropy (nats) of each text token under each setting (subcomponent → α; {} is the base model), else 0.

    Entry t is the loss of token t, predicted at t − 1; on the CPU. All settings share the forwards, as many at once as
    memory allows.
    """
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    alphas = torch.tensor([[setting.get(name, 1.0) for name in names] for setting in settings])
    method = Scales(workspace.require_parts(), names)
    at_once = max(1, LOGITS_AT_ONCE // (workspace.vocabulary * blocks.ids.shape[1]))
    runs = min(len(settings), at_once)
    rows = max(1, at_once // runs)
    losses_by_setting = torch.zeros(len(settings), *blocks.ids.shape)
    for r in range(0, len(settings), runs):
        for i in range(0, len(blocks.ids), rows):
            chunk = blocks.rows(i, i + rows).to(workspace.device)
            losses = _losses(workspace.model, method, alphas[r : r + runs].to(workspace.device), chunk)
            losses_by_setting[r : r + runs, i : i + rows] = losses.cpu()
            if advance is not None:
                advance(chunk.tokens * len(alphas[r : r + runs]))
    return losses_by_setting


def _losses(
    model: PreTrainedModel, method: Scales, alphas: Float[Tensor, "runs k"], blocks: Blocks
) -> Float[Tensor, "runs rows length"]:
    runs = len(alphas)
    ids = blocks.ids.repeat(runs, 1)
    with adapted(model, method, {"alpha": nn.Parameter(alphas)}, runs), torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits
    return next_token_losses(logits, ids, blocks.valid.repeat(runs, 1)).view(runs, *blocks.ids.shape)


@dataclass(frozen=True)
class Where:
    """How a domain's damage lies beside the activation, as shares of the summed rise (they add up to 1).

    at: predictions made where the subcomponent is strongly active; near: up to NEAR positions after; far: the rest.
    """

    at: float
    near: float
    far: float


def whereabouts(
    rise: Float[Tensor, "rows length"],
    strong: Bool[Tensor, "rows length"],
    valid: Bool[Tensor, "rows length"],
) -> Where | None:
    """Split the summed rise of the text tokens; None where there is no damage to split."""
    total = float(rise[valid].sum())
    if total <= 0:
        return None
    # A token at t is predicted at t − 1.
    made_at = F.pad(strong[:, :-1], (1, 0))
    near = torch.zeros_like(made_at)
    for step in range(1, NEAR + 1):
        near |= F.pad(made_at, (step, 0))[:, : made_at.shape[1]]
    at = float(rise[valid & made_at].sum()) / total
    beside = float(rise[valid & near & ~made_at].sum()) / total
    return Where(at, beside, 1 - at - beside)


@dataclass(frozen=True)
class Lost:
    """A token of the text and what its occurrences lost together, as a share of all that the domain lost."""

    token: str
    count: int
    share: float
    mean: float


def lost_tokens(
    rise: Float[Tensor, "rows length"], blocks: Blocks, tokenizer: PreTrainedTokenizerBase, top: int
) -> list[Lost]:
    """The tokens whose occurrences rise most in sum; share: of the sum over all tokens that rise."""
    ids, values = blocks.ids[blocks.valid], rise[blocks.valid].double()
    tokens, place, counts = ids.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(tokens), dtype=torch.float64).index_add_(0, place, values)
    whole = float(sums.clamp_min(0).sum())
    best = sums.topk(min(top, len(sums))).indices.tolist()
    return [
        Lost(
            spelling(tokenizer, int(tokens[i])),
            int(counts[i]),
            float(sums[i]) / whole,
            float(sums[i] / counts[i]),
        )
        for i in best
        if sums[i] > 0
    ]


@dataclass(frozen=True)
class Context:
    """A token that lost much: what stood before it, its cross-entropy before and after (nats).

    active: for each token before it, whether the subcomponent is strongly active there.
    """

    before: list[str]
    active: list[bool]
    token: str
    ce_base: float
    ce: float


def worst_contexts(
    base: Float[Tensor, "rows length"],
    edited: Float[Tensor, "rows length"],
    strong: Bool[Tensor, "rows length"],
    blocks: Blocks,
    tokenizer: PreTrainedTokenizerBase,
    top: int,
    length: int = 16,
) -> list[Context]:
    """The `top` text tokens whose cross-entropy rises most, each with up to `length` tokens before it."""
    rise = (edited - base).masked_fill(~blocks.valid, -torch.inf)
    best = rise.flatten().topk(min(top, blocks.tokens)).indices.tolist()
    contexts = []
    for row, t in (divmod(i, rise.shape[1]) for i in best):
        if rise[row, t] <= 0:
            break
        start = max(1, t - length)
        before = with_neighbours([spelling(tokenizer, i) for i in blocks.ids[row, start:t].tolist()])
        contexts.append(
            Context(
                before,
                strong[row, start:t].tolist(),
                spelling(tokenizer, int(blocks.ids[row, t])),
                float(base[row, t]),
                float(edited[row, t]),
            )
        )
    return contexts
