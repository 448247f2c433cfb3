"""A decomposition in place of MLPs while its unimportant parts are on by amounts that somebody else chooses.

A part of importance g is on by g + (1 − g) r. Random masks draw r anew at every position, uniform in [0, 1]; an adversary
has one r for every part, the same at all positions, and sets it by projected gradient ascent on the text that is judged.
What a decomposition claims holds for every r; parts that are cut off below a level (g > 0) test one choice of many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rankone.circuits.transcoders.judging.stand_ins import StandIns, masked_parts, named_parts
from rankone.circuits.transcoders.places import Mlp
from rankone.decomposition.evidence.attack import restricted_source
from rankone.decomposition.evidence.groups import channels_of
from rankone.decomposition.evidence.text import EvidenceText
from rankone.decomposition.model import DecomposedModel
from rankone.runtime.progress import Meter
from rankone.text.blocks import Blocks


def unimportant_on(
    model: DecomposedModel,
    mlps: Sequence[Mlp],
    tests: Sequence[Int[Tensor, "rows length"]],
    counted: Mapping[str, float],
    steps: int,
    seed: int,
    bar: Meter,
) -> Iterator[StandIns]:
    """Random masks, then the adversary's after `steps` steps (none for 0), each with attention as it is and masked too.

    counted: parts with importance above 0 per token and site. The adversary that masks the MLPs alone holds attention's
    parts at 1.
    """
    for attention in (False, True):
        name = named_parts("random masks", attention)
        yield masked_parts(model, mlps, name, attention, counted, _Random(seed, tests[0].device))
    if steps == 0:
        return
    ids = torch.cat(list(tests))
    text = EvidenceText(model, Blocks(ids, torch.ones_like(ids, dtype=torch.bool)))
    sites, counts = model.decomposition.sites, model.decomposition.counts
    in_mlps = {site for mlp in mlps for site in mlp.sites}
    for attention in (False, True):
        free = channels_of(sites, counts, [s for s in sites if attention or s in in_mlps])
        source = restricted_source(text, free, steps, seed, bar)
        name = named_parts(f"{steps} PGD steps", attention)
        yield masked_parts(model, mlps, name, attention, counted, partial(_on_by, source))


def _on_by(
    amount: Float[Tensor, "*rows c"], g: Float[Tensor, "rows length c"]
) -> Float[Tensor, "rows length c"]:
    return g + (1 - g) * amount


class _Random:
    """Amounts drawn anew at every call, in an order that a seed settles."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._draws = torch.Generator(device).manual_seed(seed)

    def __call__(self, g: Float[Tensor, "rows length c"]) -> Float[Tensor, "rows length c"]:
        return _on_by(torch.rand(g.shape, generator=self._draws, device=g.device), g)
