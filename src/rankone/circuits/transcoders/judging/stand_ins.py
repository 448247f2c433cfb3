"""What can stand in for MLPs, all asked alike: transcoders, nothing, means, neurons, parts of their weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.circuits.transcoders.coder import Keeping, Transcoder, smallest_kept
from rankone.circuits.transcoders.judging.clean import Active, Clean
from rankone.circuits.transcoders.places import Mlp, Seen, watched
from rankone.circuits.transcoders.replacing import giving, replacing
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.models.output import output_of


@dataclass(frozen=True)
class StandIns:
    """A way to replace MLPs.

    forward: (token ids, layers that are replaced) → (logits, what was written in the MLPs' places); the model is as before
    afterwards.

    per_module: units active per token in a matrix (or a dictionary); per_output: those that an MLP's output is made of;
    parameters: numbers used per token over all layers; active: which units are on where, None where that is not asked.
    """

    name: str
    forward: Callable[
        [Int[Tensor, "rows length"], Collection[int]], tuple[Float[Tensor, "rows length vocab"], Seen]
    ]
    per_module: float
    per_output: float
    parameters: float
    active: Active | None = None


def coded(model: PreTrainedModel, mlps: Sequence[Mlp], coder: Transcoder, keeping: Keeping) -> StandIns:
    """A transcoder; keeping: batch top-k, as it was trained, or its fitted threshold."""
    return StandIns(
        f"{coder.config.name}, {keeping}",
        lambda ids, layers: _run(model, mlps, ids, replacing(model, mlps, coder, layers, keeping)),
        float(coder.config.k),
        coder.active_per_output(),
        coder.active_parameters(),
        lambda clean: [coder.chosen(i, coder.read(i, x), keeping) for i, x in enumerate(clean.inputs)],
    )


def constant(
    model: PreTrainedModel, mlps: Sequence[Mlp], name: str, values: Sequence[Float[Tensor, " d"]]
) -> StandIns:
    """A vector per layer at every token: zeros, or the MLP's mean output on training text."""

    def forward(ids: Int[Tensor, "rows length"], layers: Collection[int]) -> tuple[Tensor, Seen]:
        given = [value.expand(*ids.shape, -1) if i in layers else None for i, value in enumerate(values)]
        return _run(model, mlps, ids, giving(model, mlps, given))

    return StandIns(name, forward, 0, 0, 0)


def strongest_neurons(model: PreTrainedModel, mlps: Sequence[Mlp], k: int) -> StandIns:
    """The k neurons per token, on average over a batch, with the largest |activation| · ‖write vector‖; the others 0."""
    norms = [_write_norms(model.get_submodule(mlp.last)) for mlp in mlps]

    def forward(ids: Int[Tensor, "rows length"], layers: Collection[int]) -> tuple[Tensor, Seen]:
        few = {mlps[i].last: norms[i] for i in layers}
        return _run(model, mlps, ids, _few_neurons(model, few, k))

    def active(clean: Clean) -> list[Bool[Tensor, "n_tokens neurons"]]:
        return [_strongest(x, norm, k) for x, norm in zip(clean.neurons, norms, strict=True)]

    width = sum(model.get_submodule(site).get_parameter("weight").shape.numel() for site in mlps[0].sites)
    return StandIns(f"neurons, k {k}", forward, k, k, k * len(mlps) * width / len(norms[0]), active)


def _write_norms(last: nn.Module) -> Float[Tensor, " neurons"]:
    """‖write vector‖ of each neuron; Conv1D holds its weight transposed."""
    weight = last.get_parameter("weight").float()
    return weight.norm(dim=0 if isinstance(last, nn.Linear) else 1)


def _strongest(
    x: Float[Tensor, "... neurons"], norms: Float[Tensor, " neurons"], k: int
) -> Bool[Tensor, "n_tokens neurons"]:
    size = (x.float().abs() * norms).flatten(0, -2)
    return size >= smallest_kept(size, k)


@contextmanager
def _few_neurons(
    model: PreTrainedModel, norms: Mapping[str, Float[Tensor, " neurons"]], k: int
) -> Iterator[None]:
    """norms: by the path of each last matrix whose neurons are cut down."""

    def keep(norm: Tensor, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  # noqa: ARG001
        return (args[0] * _strongest(args[0], norm, k).view_as(args[0]), *args[1:])

    with ExitStack() as hooks:
        for path, norm in norms.items():
            hooks.enter_context(model.get_submodule(path).register_forward_pre_hook(partial(keep, norm)))
        yield


def important_parts(
    model: DecomposedModel, mlps: Sequence[Mlp], above: float, attention: bool, counted: Mapping[str, float]
) -> StandIns:
    """A decomposition's parts with causal importance above a level, remainders off, in the MLPs that are replaced.

    attention: parts below the level are off in every attention matrix too, which is what a decomposition is trained for;
    else attention keeps its weights. counted: active parts per token and site, from `active_counts`.
    """
    name = named_parts(f"g > {above:g}", attention)
    way = masked_parts(model, mlps, name, attention, counted, lambda g: (g > above).float())
    return replace(way, active=lambda clean: [g > above for g in clean.importances])


def named_parts(which: str, attention: bool) -> str:
    """The name of a row of a decomposition's parts."""
    return f"decomposition, {which}" + (", attention too" if attention else "")


def masked_parts(
    model: DecomposedModel,
    mlps: Sequence[Mlp],
    name: str,
    attention: bool,
    counted: Mapping[str, float],
    masked_as: Callable[[Float[Tensor, "rows length c"]], Float[Tensor, "rows length c"]],
) -> StandIns:
    """A decomposition's parts times what `masked_as` makes of their causal importances, otherwise as `important_parts`."""
    decomposition = model.decomposition
    place = {site: i for i, mlp in enumerate(mlps) for site in mlp.sites}

    def forward(ids: Int[Tensor, "rows length"], layers: Collection[int]) -> tuple[Tensor, Seen]:
        with torch.no_grad():
            given = masked_as(model.importance(ids))
            masked = [place[s] in layers if s in place else attention for s in decomposition.sites]
            on = torch.tensor([0.0 if m else 1.0 for m in masked], device=ids.device)
            counts = torch.tensor(decomposition.counts, device=ids.device)
            mask = torch.where(on.repeat_interleave(counts) == 1, 1.0, given)
            with watched(model.target, mlps) as (_, outputs):
                return model.masked(ids, mask, on.expand(*ids.shape, -1)), outputs

    in_mlps = {s: n for s, n in counted.items() if s in place}
    widths = {s: decomposition.factors(s)[0].shape[0] + decomposition.factors(s)[1].shape[1] for s in in_mlps}
    return StandIns(
        name,
        forward,
        sum(in_mlps.values()) / max(1, len(in_mlps)),
        sum(in_mlps.values()) / len(mlps),
        sum(n * widths[s] for s, n in in_mlps.items()),
    )


def active_counts(
    model: DecomposedModel, batches: Sequence[Int[Tensor, "rows length"]], above: float
) -> dict[str, float]:
    """Parts per token with importance above a level, by site, mean over the text."""
    decomposition: Decomposition = model.decomposition
    totals, tokens = dict.fromkeys(decomposition.sites, 0.0), 0
    for ids in batches:
        split = model.importance(ids).split(decomposition.counts, dim=-1)
        for site, g in zip(decomposition.sites, split, strict=True):
            totals[site] += float((g > above).sum())
        tokens += ids.numel()
    return {site: total / tokens for site, total in totals.items()}


@torch.no_grad()
def mean_outputs(
    model: PreTrainedModel, mlps: Sequence[Mlp], batches: Sequence[Int[Tensor, "rows length"]]
) -> list[Float[Tensor, " d"]]:
    """What each MLP writes on average on a text."""
    sums: list[Tensor] = []
    tokens = 0
    for ids in batches:
        with watched(model, mlps) as (_, outputs):
            output_of(model, ids)
            each = [outputs[mlp.path].flatten(0, -2).float().sum(0) for mlp in mlps]
        sums = each if not sums else [a + b for a, b in zip(sums, each, strict=True)]
        tokens += ids.numel()
    return [total / tokens for total in sums]


def _run(
    model: PreTrainedModel,
    mlps: Sequence[Mlp],
    ids: Int[Tensor, "rows length"],
    changed: AbstractContextManager[None],
) -> tuple[Float[Tensor, "rows length vocab"], Seen]:
    with changed, watched(model, mlps) as (_, outputs), torch.no_grad():
        return output_of(model, ids), outputs
