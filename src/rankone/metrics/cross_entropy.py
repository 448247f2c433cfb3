"""Next-token cross-entropy: the one definition, by token, by passage and by domain; nats."""

# get_text_config of transformers has no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.runtime.progress import Meter
from rankone.text.blocks import Blocks

# Logits in memory at once: 2^25 numbers in fp32 are 128 MB.
LOGITS_AT_ONCE = 1 << 25
# Rows in one forward where every position is scored.
ROWS_AT_ONCE = 8


@dataclass(frozen=True)
class PassageLosses:
    """Cross-entropy of a text, passage by passage (a row of `Blocks` is one), on the CPU.

    sums: nats over the scored tokens of each passage, float64. tokens: how many those are.
    """

    sums: Float[Tensor, " passages"]
    tokens: Int[Tensor, " passages"]

    @property
    def mean(self) -> float:
        """Nats per token over all passages."""
        return float(self.sums.sum()) / int(self.tokens.sum())

    def beyond(self, base: PassageLosses) -> PassageLosses:
        """How far these are above the losses of the same passages."""
        return PassageLosses(self.sums - base.sums, base.tokens)

    @property
    def error(self) -> float | None:
        """Standard error of the mean, of the ratio estimator over passages (damage.py); None for a single passage."""
        scored = self.tokens > 0
        passages, counts = int(scored.sum()), self.tokens[scored].double()
        if passages < 2:
            return None
        residuals = self.sums[scored] - self.mean * counts
        return math.sqrt(passages / (passages - 1) * float(residuals.square().sum())) / float(counts.sum())


def prediction_losses(
    logits: Float[Tensor, "*positions vocab"],
    targets: Int[Tensor, "*positions"] | Float[Tensor, "*positions vocab"],
) -> Float[Tensor, "*positions"]:
    """Cross-entropy at every position, in fp32: against token ids −ln p(id), against probabilities q of all tokens
    −Σ q ln p. Differentiable."""
    flat = F.cross_entropy(
        logits.float().flatten(0, -2), targets.flatten(0, logits.ndim - 2), reduction="none"
    )
    return flat.view(logits.shape[:-1])


def losses_of_logs(log_p: Float[Tensor, "n vocab"], targets: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """−ln p(target) from log-probabilities: what `prediction_losses` makes of the logits, for who needs both."""
    return F.nll_loss(log_p, targets, reduction="none")


def next_token_losses(
    logits: Float[Tensor, "rows length vocab"],
    ids: Int[Tensor, "rows length"],
    valid: Bool[Tensor, "rows length"] | None = None,
) -> Float[Tensor, "rows length"]:
    """−ln p(token t | tokens before t) at every valid t ≥ 1, in fp32; 0 elsewhere: the first token is not predicted.

    valid: the tokens whose prediction is scored (`Blocks.valid`); None scores all but the first. Differentiable.
    """
    scored = _scored(ids, valid)
    keep = scored[:, 1:]
    each = prediction_losses(logits[:, :-1][keep], ids[:, 1:][keep])
    return torch.zeros_like(scored, dtype=each.dtype).masked_scatter(scored, each)


def following_losses(model: PreTrainedModel, ids: Int[Tensor, "rows length"]) -> Float[Tensor, "rows length"]:
    """At every position the cross-entropy of the token that follows, nats, without gradients.

    A row's last position has no such token: what stands there does not count.
    """
    pieces = [ids[start : start + ROWS_AT_ONCE] for start in range(0, len(ids), ROWS_AT_ONCE)]
    with torch.no_grad():
        return torch.cat(
            [
                prediction_losses(model(input_ids=rows, use_cache=False).logits, rows.roll(-1, dims=1))
                for rows in pieces
            ]
        )


def scored_losses(
    hidden: Float[Tensor, "rows length d"],
    logits: Callable[[Float[Tensor, "n d"]], Float[Tensor, "n vocab"]],
    blocks: Blocks,
    at_once: int,
) -> Float[Tensor, "rows length"]:
    """`next_token_losses` from last hidden states: `logits` are formed of `at_once` scored positions at a time."""
    scored = _scored(blocks.ids, blocks.valid)
    keep = scored[:, 1:]
    states, ids = hidden[:, :-1][keep], blocks.ids[:, 1:][keep]
    each = torch.cat(
        [
            prediction_losses(logits(states[i : i + at_once]), ids[i : i + at_once])
            for i in range(0, len(ids), at_once)
        ]
    )
    return torch.zeros_like(scored, dtype=each.dtype).masked_scatter(scored, each)


def _scored(
    ids: Int[Tensor, "rows length"], valid: Bool[Tensor, "rows length"] | None
) -> Bool[Tensor, "rows length"]:
    """The tokens whose prediction counts; never the first."""
    scored = torch.ones_like(ids, dtype=torch.bool) if valid is None else valid.clone()
    scored[:, 0] = False
    return scored


def passage_losses(model: PreTrainedModel, blocks: Blocks, what: str = "this text") -> PassageLosses:
    """Score a text on the model's device, as many rows at once as LOGITS_AT_ONCE allows.

    Raises RankOneError for text without a scored token, and where logits overflow: no figure is NaN. what: names the text.
    """
    if blocks.tokens == 0:
        raise RankOneError("there is no token to score in this text. Give more text.")
    size = int(model.config.get_text_config().vocab_size)
    rows = max(1, LOGITS_AT_ONCE // (size * blocks.ids.shape[1]))
    sums: list[Tensor] = []
    for chunk in blocks.split(rows, model.device):
        with torch.no_grad():
            logits = model(input_ids=chunk.ids, use_cache=False).logits
            sums.append(next_token_losses(logits, chunk.ids, chunk.valid).double().sum(1).cpu())
    losses = PassageLosses(torch.cat(sums), blocks.valid[:, 1:].sum(1).cpu())
    if not math.isfinite(losses.mean):
        raise RankOneError(
            f"the cross-entropy of {what} is {losses.mean}: logits overflow in {str(model.dtype).removeprefix('torch.')}. "
            "Load the model in a wider dtype, restore it from its source, or take a smaller edit."
        )
    return losses


def text_losses(
    model: PreTrainedModel, text: Mapping[str, Blocks], bar: Meter | None = None
) -> dict[str, PassageLosses]:
    """`passage_losses` of every domain, each a step of `bar`."""
    losses: dict[str, PassageLosses] = {}
    for domain, blocks in text.items():
        losses[domain] = passage_losses(model, blocks, f"'{domain}'")
        if bar is not None:
            bar.advance(note=domain)
    return losses


def cross_entropy(model: PreTrainedModel, blocks: Blocks) -> float:
    """Mean over the scored tokens of a text, nats per token."""
    return passage_losses(model, blocks).mean


def cross_entropies(model: PreTrainedModel, text: Mapping[str, Blocks]) -> dict[str, float]:
    """Mean per domain, nats per token."""
    return {domain: losses.mean for domain, losses in text_losses(model, text).items()}
