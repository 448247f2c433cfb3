"""The best raw coordinate of the whole model with one scale: what a search like the pick's finds without a decomposition.

Shortlist: the neurons (or head channels) of the largest ratio of mean squares, text to forget : other text; chosen among
them as the picked part was among its candidates, by measuring.
"""

from __future__ import annotations

import torch

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.methods.kind import Kind, Target
from rankone.edits.scales import both_signs
from rankone.parts.parts import Parts
from rankone.parts.sources import make_parts

SHORTLIST = 10
"""Coordinates that are measured: as many as the pick has candidates."""


def answering(target: Target, origin: str, share_floor: float = 0.01) -> Parts:
    """The SHORTLIST coordinates that answer most to the text to forget, over all sites that write to the residual stream.

    origin: neuron or channel. A coordinate that hardly ever moves has a large ratio by chance: `share_floor` of its site's
    mean square over other text is added below.
    """
    sites = target.outputs(attention=origin == "channel")
    wanted, others = target.require_moments(sites, f"best_{origin}")
    ratios = []
    for site in sites:
        square = others[site.name].mean_square.double()
        ratios.append(wanted[site.name].mean_square.double() / (square + share_floor * square.mean()))
    places = [(site.name, i) for site, ratio in zip(sites, ratios, strict=True) for i in range(len(ratio))]
    numbers: dict[str, list[int]] = {}
    for place in torch.cat(ratios).topk(min(SHORTLIST, len(places))).indices.tolist():
        numbers.setdefault(places[place][0], []).append(places[place][1])
    return make_parts(origin, [site for site in sites if site.name in numbers], numbers=numbers)


def _starts(name: str, origin: str, target: Target) -> list[Method]:
    if target.best_of is None:
        raise RankOneError(f"the method '{name}' measures candidates: run it as a job.")
    parts = answering(target, origin)
    return both_signs(parts, [target.best_of(parts)], name)


def _kind(name: str, origin: str, title: str, slot: int) -> Kind:
    return Kind(
        name,
        title,
        14,
        slot,
        lambda t: _starts(name, origin, t),
        (0.5,),
        (1.0,),
        one_scale=True,
        spends="text",
    )


KINDS = (
    _kind("best_neuron", "neuron", "the best raw neuron", 3),
    _kind("best_channel", "channel", "the best raw head channel", 1),
)
