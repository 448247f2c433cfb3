"""The forward that asks nothing of a model but logits: whole, for every run, from the first token on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.edits.adapters import Change, adapted
from rankone.edits.fitting.passes.forward import Forward, Text, runs_of
from rankone.metrics.cross_entropy import prediction_losses
from rankone.metrics.top_tokens import TopTokens, top_kl, top_tokens

ROWS_AT_ONCE = 8
# Probabilities that are kept whole, in numbers; of longer texts the likeliest tokens are kept (metrics/top_tokens.py).
PROBABILITIES = 2**25


@dataclass(frozen=True)
class WholeText:
    """Rows with the tokens that follow, the base's probabilities, or its likeliest tokens."""

    ids: Int[Tensor, "rows t"]
    entropy: Float[Tensor, "rows t"]
    targets: Tensor | TopTokens


class WholeForward(Forward):
    """Logits of every run, held whole."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    def prepare(self, ids: Int[Tensor, "rows t"], following: bool = False) -> WholeText:
        """See `Forward`."""
        if following:
            return WholeText(ids, torch.zeros(ids.shape, device=ids.device), ids.roll(-1, dims=1))
        with torch.no_grad():
            parts = [self._base(rows, ids.numel()) for rows in ids.split(ROWS_AT_ONCE)]
        entropy = torch.cat([entropy for entropy, _ in parts])
        kept = [targets for _, targets in parts]
        if isinstance(kept[0], TopTokens):
            return WholeText(ids, entropy, TopTokens(*map(torch.cat, zip(*kept, strict=True))))
        return WholeText(ids, entropy, torch.cat(kept))  # pyright: ignore[reportArgumentType, reportCallIssue]

    def _base(self, ids: Tensor, positions: int) -> tuple[Tensor, Tensor | TopTokens]:
        logits = self.model(input_ids=ids, use_cache=False).logits.float()
        if positions * logits.shape[-1] > PROBABILITIES:
            top = top_tokens(logits)
            rest = top.rest.exp() * top.rest.clamp_min(-1e4)
            return -(top.log_probs.exp() * top.log_probs).sum(-1) - rest, top
        log_probs = logits.log_softmax(-1)
        return -(log_probs.exp() * log_probs).sum(-1), log_probs.exp()

    def each(
        self,
        text: Text,
        index: Int[Tensor, "own rows"],
        method: Change,
        parameters: Mapping[str, Tensor],
        scored: Bool[Tensor, "own rows t"] | None = None,  # noqa: ARG002
    ) -> Float[Tensor, "runs rows t"]:
        """See `Forward`."""
        assert isinstance(text, WholeText)
        runs = runs_of(parameters)
        rows = index.expand(runs, -1).flatten()
        with adapted(self.model, method, parameters, runs):
            logits = self.model(input_ids=text.ids[rows], use_cache=False).logits
        if isinstance(text.targets, TopTokens):
            values = top_kl(text.targets.rows(rows), logits) + text.entropy[rows]
        else:
            values = prediction_losses(logits, text.targets[rows])
        return values.view(runs, -1, text.ids.shape[1])
