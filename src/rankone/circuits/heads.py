"""Which heads a part of attention works in: how the squared norm of what it writes, or reads, is shared among them.

Queries and keys: of what reaches the scores (qk.py has the map); values: of what reaches the output matrix where a token
sees itself alone; output: of the read vector, |v|² head by head. Shares are of the heads of queries: a head of keys or
values that serves several of them counts there in equal parts. A part of a fused matrix has shares for each that it writes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.circuits.attribution.cut import Cut
from rankone.circuits.attribution.edges import gradients
from rankone.circuits.qk import ROWS_AT_ONCE, behind_scores, map_of
from rankone.models.anatomy import in_attention, is_output, layer_number
from rankone.parts.parts import Parts

# Of the whole squared norm: less is rounding of a role that a part does not have.
NOTHING = 1e-12


def head_shares(alone: Cut, parts: Parts, name: str) -> dict[str, Float[Tensor, " heads"]]:
    """Role (queries, keys, values, output) → share of each head, of a part by name; nothing outside of attention.

    alone: a cut of a single token, by the frozen rule. RankOneError where queries or keys come from several sites.
    """
    site, column = parts.locate(name)
    layer = layer_number(site)
    if not (in_attention(site) and 0 <= layer < len(alone.attended)):
        return {}
    heads = alone.attended[layer][0].shape[1]
    read, write = (factor.detach().double().cpu() for factor in parts.factors(site))
    output = next(
        (s for s in alone.inputs if layer_number(s) == layer and in_attention(s) and is_output(s)), None
    )
    if site == output:
        return _shared({"output": read[:, column]}, heads)
    written: dict[str, Tensor] = {}
    if site in behind_scores(alone, layer):
        for role, side in zip(("queries", "keys"), alone.attended[layer], strict=True):
            behind, through = map_of(alone, side)
            if behind == site:
                written[role] = through[0].double().cpu() @ write[column]
    values = None if output is None else _value_map(alone, output, site)
    if values is not None:
        written["values"] = values @ write[column]
    return _shared(written, heads)


def _value_map(alone: Cut, output: str, site: str) -> Float[Tensor, "d_in out"] | None:
    """From what a site writes to what the output matrix reads; None where nothing leads there."""
    read = alone.inputs[output]
    basis = torch.eye(read.shape[-1], device=read.device, dtype=read.dtype).view(-1, *read.shape)
    rows = [gradients(read, seeds, [alone.leaves[site]])[0] for seeds in basis.split(ROWS_AT_ONCE)]
    there = [row.reshape(len(row), -1) for row in rows if row is not None]
    return torch.cat(there).double().cpu() if there else None


def _shared(vectors: dict[str, Tensor], heads: int) -> dict[str, Float[Tensor, " heads"]]:
    sizes: dict[str, Tensor] = {}
    for role, vector in vectors.items():
        of_heads = vector if vector.ndim == 2 else vector.reshape(heads, -1)
        size = of_heads.square().sum(1)
        sizes[role] = size.repeat_interleave(heads // len(size))
    whole = max((float(size.sum()) for size in sizes.values()), default=0.0)
    return {role: size / size.sum() for role, size in sizes.items() if float(size.sum()) > NOTHING * whole}
