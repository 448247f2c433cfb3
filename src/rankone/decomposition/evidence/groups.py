"""Sites in groups: by layer and by kind, read off their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from rankone.decomposition.evidence.records import Grouping
from rankone.models.anatomy import layer_number

NO_LAYER = "-"


def layer_of(site: str) -> str:
    """The number of a site's block; '-' where it has none."""
    number = layer_number(site)
    return str(number) if number >= 0 else NO_LAYER


def kind_of_site(site: str) -> str:
    """What stands after the layer's number, further numbers left out: `attn.q_proj`, `experts.up`."""
    return re.sub(r"\.\d+(?=\.)", "", re.split(r"\.\d+\.", site, maxsplit=1)[-1])


def groups(sites: Sequence[str]) -> list[tuple[Grouping, str, list[str]]]:
    """(by, name, sites) of every layer and then of every kind, in the order in which they first come."""
    members: dict[tuple[Grouping, str], list[str]] = {}
    for by, name in ((Grouping.LAYER, layer_of), (Grouping.KIND, kind_of_site)):
        for site in sites:
            members.setdefault((by, name(site)), []).append(site)
    return [(by, name, group) for (by, name), group in members.items()]


def channels_of(sites: Sequence[str], counts: Sequence[int], chosen: Sequence[str]) -> Bool[Tensor, " c"]:
    """Which of all subcomponents belong to the chosen sites."""
    member = torch.tensor([site in set(chosen) for site in sites])
    return member.repeat_interleave(torch.tensor(counts))
