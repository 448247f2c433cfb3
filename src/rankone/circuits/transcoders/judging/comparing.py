"""Transcoders, neurons and a decomposition judged alike: the same model, held-out tokens and three ways of replacing.

`batch` keeps the k largest latents per token of a batch, so that what a token says depends on its neighbours; `threshold`
does not. A decomposition's parts come from its importance on the clean forward, its remainders off in the MLPs: cut off
below a level, on by random amounts, and on by an adversary's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from rankone.circuits.transcoders.coder import Transcoder
from rankone.circuits.transcoders.config import CoderConfig
from rankone.circuits.transcoders.judging.clean import clean_forward
from rankone.circuits.transcoders.judging.firing import Tagged, firing_areas, tagged_text
from rankone.circuits.transcoders.judging.jacobians import jacobian_cosine
from rankone.circuits.transcoders.judging.judging import judge
from rankone.circuits.transcoders.judging.similarity import alike
from rankone.circuits.transcoders.judging.stand_ins import (
    StandIns,
    active_counts,
    coded,
    constant,
    important_parts,
    mean_outputs,
    strongest_neurons,
)
from rankone.circuits.transcoders.judging.unimportant import unimportant_on
from rankone.circuits.transcoders.places import Mlp, mlps_of, watched
from rankone.circuits.transcoders.records import Alike, Judged
from rankone.circuits.transcoders.requests import CompareTranscodersReply, CompareTranscodersRequest
from rankone.circuits.transcoders.rows import packed_rows
from rankone.circuits.transcoders.storage import SavedTranscoders
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.metrics.cross_entropy import next_token_losses
from rankone.models.output import output_of
from rankone.runtime.progress import Meter, meter
from rankone.subject import Subject

Batches = list[Int[Tensor, "rows length"]]
# Training text that firings are counted on, in units of the test text.
COUNTED = 4


def compare(
    subject: Subject,
    decomposition: Decomposition | None,
    saved: SavedTranscoders,
    coders: Sequence[Transcoder],
    domains: Sequence[str],
    request: CompareTranscodersRequest,
) -> CompareTranscodersReply:
    """Judge everything on test text; RankOneError for too little of it."""
    config, mlps = saved.training, mlps_of(subject.model)
    tests = _batches(subject, domains, "test", request.tokens, saved, request.seed)
    training = _batches(subject, saved.domains, "train", request.tokens, saved, config.seed)
    ways = [*_lines(subject, mlps, training, request, saved), *_coded(subject, mlps, coders)]
    few = (len(request.levels) * 2 + 2 + 2 * (request.attack > 0)) * (decomposition is not None)
    dead = {one.coder.name: one.dead for one in saved.coders}
    ascents = 2 * request.attack * (decomposition is not None)
    texts = _tagged(subject, domains, saved, request)
    looks = sum(len(text.ids) for text in texts)
    with meter("judging", (len(ways) + few) * len(tests) + ascents + looks) as bar, ExitStack() as opened:
        rows = [judge(subject.model, mlps, way, tests, bar) for way in ways]
        model = None
        if decomposition is not None:
            model = opened.enter_context(DecomposedModel(subject.model, decomposition))
            for way in _decomposed(model, mlps, tests, request, bar):
                rows.append(judge(subject.model, mlps, way, tests, bar))
                ways.append(way)
        clean = partial(clean_forward, subject.model, mlps, model)
        active = {way.name: way.active for way in ways if way.active is not None}
        areas = firing_areas(clean, active, *texts, request.seed, bar)
    cosines = _jacobians(subject, mlps, coders, tests[0], request.jacobians)
    return CompareTranscodersReply(
        tokens=sum(ids.numel() for ids in tests),
        batch=config.batch,
        target=_target(subject, tests),
        rows=tuple(_completed(row, dead, cosines, areas) for row in rows),
        alike=tuple(_alike(coders)),
        out=request.out,
    )


def _batches(
    subject: Subject, domains: Sequence[str], split: str, tokens: int, saved: SavedTranscoders, seed: int
) -> Batches:
    config = saved.training
    rows = packed_rows(subject, domains, split, tokens, config.context, config.batch, seed)
    per_batch = config.batch // config.context
    whole = len(rows) // per_batch * per_batch
    chunks = rows[:whole].astype(np.int64).reshape(-1, per_batch, config.context)
    return [torch.from_numpy(chunk).to(subject.device) for chunk in chunks]


def _lines(
    subject: Subject,
    mlps: Sequence[Mlp],
    training: Batches,
    request: CompareTranscodersRequest,
    saved: SavedTranscoders,
) -> Iterator[StandIns]:
    """What anything has to beat: nothing, means, neurons, a transcoder that was never trained."""
    means = mean_outputs(subject.model, mlps, training)
    yield constant(subject.model, mlps, "nothing", [torch.zeros_like(mean) for mean in means])
    yield constant(subject.model, mlps, "mean output", means)
    for k in request.neurons:
        yield strongest_neurons(subject.model, mlps, k)
    random = CoderConfig(latents=saved.coders[0].coder.latents, k=saved.coders[0].coder.k)
    untrained = Transcoder(random, saved.layers, saved.width).to(subject.device)
    way = coded(subject.model, mlps, untrained, "batch")
    yield replace(way, name="random transcoder")


def _coded(subject: Subject, mlps: Sequence[Mlp], coders: Sequence[Transcoder]) -> Iterator[StandIns]:
    for coder in coders:
        for keeping in ("batch", "threshold"):
            yield coded(subject.model, mlps, coder, keeping)


def _decomposed(
    model: DecomposedModel,
    mlps: Sequence[Mlp],
    tests: Batches,
    request: CompareTranscodersRequest,
    bar: Meter,
) -> Iterator[StandIns]:
    counted = {above: active_counts(model, tests, above) for above in dict.fromkeys((*request.levels, 0.0))}
    for above in request.levels:
        for attention in (False, True):
            yield important_parts(model, mlps, above, attention, counted[above])
    yield from unimportant_on(model, mlps, tests, counted[0.0], request.attack, request.seed, bar)


@torch.no_grad()
def _target(subject: Subject, tests: Batches) -> float:
    losses = [float(next_token_losses(output_of(subject.model, ids), ids).double().sum()) for ids in tests]
    return sum(losses) / sum(ids.numel() - len(ids) for ids in tests)


def _jacobians(
    subject: Subject,
    mlps: Sequence[Mlp],
    coders: Sequence[Transcoder],
    ids: Int[Tensor, "rows length"],
    tokens: int,
) -> dict[str, float]:
    if tokens == 0:
        return {}
    with watched(subject.model, mlps) as (inputs, _), torch.no_grad():
        output_of(subject.model, ids)
        flat = [inputs[mlp.path].flatten(0, -2) for mlp in mlps]
    chosen = torch.linspace(1, len(flat[0]) - 1, tokens).long()
    some = [x[chosen] for x in flat]
    return {coder.config.name: jacobian_cosine(subject.model, mlps, coder, some) for coder in coders}


def _tagged(
    subject: Subject, domains: Sequence[str], saved: SavedTranscoders, request: CompareTranscodersRequest
) -> tuple[Tagged, Tagged]:
    """Text that firings are counted on, COUNTED times the other, and that they are told on."""
    config = saved.training
    sizes = (
        ("train", saved.domains, COUNTED * request.tokens, config.seed),
        ("test", domains, request.tokens, request.seed),
    )
    train, test = (
        tagged_text(subject, some, split, tokens, config.context, config.batch, seed)
        for split, some, tokens, seed in sizes
    )
    return train, test


def _completed(
    row: Judged,
    dead: dict[str, float],
    cosines: dict[str, float],
    areas: Mapping[str, tuple[float, int] | None],
) -> Judged:
    name = row.name.partition(",")[0]
    auc, scored = areas.get(row.name) or (None, None)
    measured = {"dead": dead.get(name), "jacobian": cosines.get(name), "firing_auc": auc, "scored": scored}
    return row.model_copy(update=measured)


def _alike(coders: Sequence[Transcoder]) -> Iterator[Alike]:
    """How alike the pairs of `_pairs` are in what their latents write."""
    by_config = {coder.config: coder for coder in coders}
    for a, b in _pairs(list(by_config)):
        first, second = ([decoder[0] for decoder in by_config[c].decoders] for c in (a, b))
        yield alike(first, second, (a.name, b.name))


def _pairs(configs: Sequence[CoderConfig]) -> list[tuple[CoderConfig, CoderConfig]]:
    """Pairs that differ in the seed alone, and those of two sizes, the smaller first, that have different seeds.

    With one seed a smaller one's latents of the first layer start as a larger one's do: sizes are compared so only where
    there is no other seed of either.
    """
    seeds: list[tuple[CoderConfig, CoderConfig]] = []
    sizes: dict[tuple[CoderConfig, CoderConfig], list[tuple[CoderConfig, CoderConfig]]] = {}
    for a, b in itertools.product(configs, configs):
        kinds = tuple(c.model_copy(update={"seed": 0}) for c in (a, b))
        if kinds[0] == kinds[1] and a.seed < b.seed:
            seeds.append((a, b))
        if a.latents < b.latents and kinds[0].model_copy(update={"latents": b.latents}) == kinds[1]:
            sizes.setdefault((kinds[0], kinds[1]), []).append((a, b))
    apart = [[pair for pair in pairs if pair[0].seed != pair[1].seed] or pairs for pairs in sizes.values()]
    return [*seeds, *itertools.chain.from_iterable(apart)]
