"""What replacing MLPs costs, in three ways, of anything that stands in for them: the same tokens, positions and model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.circuits.transcoders.judging.stand_ins import StandIns
from rankone.circuits.transcoders.places import Mlp, watched
from rankone.circuits.transcoders.records import Judged
from rankone.circuits.transcoders.replacing import giving
from rankone.metrics.cross_entropy import next_token_losses
from rankone.models.output import output_of
from rankone.runtime.progress import Meter


class _Sums:
    """Sums over batches: of losses by way of replacing, and by layer of squares left and in all."""

    def __init__(self, layers: int) -> None:
        self.target = self.cascading = self.parallel = 0.0
        self.single, self.left, self.total = ([0.0] * layers for _ in range(3))
        self.scored = 0


@torch.no_grad()
def judge(
    model: PreTrainedModel,
    mlps: Sequence[Mlp],
    stand_ins: StandIns,
    batches: Sequence[Int[Tensor, "rows length"]],
    bar: Meter,
) -> Judged:
    """Rise of cross-entropy, nats per token, with all MLPs replaced and errors running on (cascading), all replaced by what
    comes of clean inputs (parallel), and one at a time, mean over layers (single); share of each MLP's output left
    unexplained on clean inputs, mean over layers."""
    sums = _Sums(len(mlps))
    for ids in batches:
        _add(sums, model, mlps, stand_ins, ids)
        bar.advance(1, stand_ins.name)
    single = sum(sums.single) / len(mlps)
    shares = [left / max(total, 1e-12) for left, total in zip(sums.left, sums.total, strict=True)]
    return Judged(
        name=stand_ins.name,
        cascading=(sums.cascading - sums.target) / sums.scored,
        parallel=(sums.parallel - sums.target) / sums.scored,
        single=(single - sums.target) / sums.scored,
        unexplained=sum(shares) / len(shares),
        per_module=stand_ins.per_module,
        per_output=stand_ins.per_output,
        parameters=stand_ins.parameters,
    )


def _add(
    sums: _Sums,
    model: PreTrainedModel,
    mlps: Sequence[Mlp],
    stand_ins: StandIns,
    ids: Int[Tensor, "rows length"],
) -> None:
    with watched(model, mlps) as (_, clean):
        sums.target += _loss(output_of(model, ids), ids)
    sums.cascading += _loss(stand_ins.forward(ids, range(len(mlps)))[0], ids)
    given: list[Float[Tensor, "b t d"] | None] = []
    for layer, mlp in enumerate(mlps):
        logits, outputs = stand_ins.forward(ids, (layer,))
        sums.single[layer] += _loss(logits, ids)
        said = outputs[mlp.path]
        given.append(said)
        true = clean[mlp.path].float()
        sums.left[layer] += float((true - said.float()).square().sum())
        sums.total[layer] += float((true - true.mean((0, 1))).square().sum())
    with giving(model, mlps, given):
        sums.parallel += _loss(output_of(model, ids), ids)
    sums.scored += ids.numel() - len(ids)


def _loss(logits: Float[Tensor, "rows length vocab"], ids: Int[Tensor, "rows length"]) -> float:
    return float(next_token_losses(logits, ids).double().sum())
