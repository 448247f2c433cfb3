"""What the sites of a decomposed model read by domain: second moments, importances, and what leaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.decomposition.evidence.records import ReadLeak
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.text.blocks import Blocks

ROWS_AT_ONCE = 16


class Reads(NamedTuple):
    """Of every site the second moment of its input by domain [domains, d_in, d_in]; of every part its mean importance by
    domain; over all text, per position, what every part writes where it is not important and every site's squared output."""

    moments: list[Float[Tensor, "domains d_in d_in"]]
    importance: Float[Tensor, "domains c"]
    silent: Float[Tensor, " c"]
    outputs: Float[Tensor, " sites"]


def reads_of(model: DecomposedModel, texts: Mapping[str, Blocks]) -> Reads:
    """One clean forward over the blocks of every domain."""
    domains = [_of_domain(model, blocks) for blocks in texts.values()]
    positions = [int(blocks.present.sum()) for blocks in texts.values()]
    seen = sum(positions)
    return Reads(
        [
            torch.stack([m / n for m, n in zip(moments, positions, strict=True)])
            for moments in zip(*(d.moments for d in domains), strict=True)
        ],
        torch.stack([d.importance / n for d, n in zip(domains, positions, strict=True)]),
        torch.stack([d.silent for d in domains]).sum(0) / seen,
        torch.stack([d.outputs for d in domains]).sum(0) / seen,
    )


def _of_domain(model: DecomposedModel, blocks: Blocks) -> Reads:
    """Sums over the real positions of one domain's blocks."""
    device = next(model.target.parameters()).device
    reads = [_of_batch(model, piece) for piece in blocks.split(ROWS_AT_ONCE, device)]
    return Reads(
        [torch.stack(moments).sum(0) for moments in zip(*(r.moments for r in reads), strict=True)],
        *(torch.stack(values).sum(0) for values in zip(*(r[1:] for r in reads), strict=True)),
    )


@torch.no_grad()
def _of_batch(model: DecomposedModel, blocks: Blocks) -> Reads:
    real, decomposition = blocks.present, model.decomposition
    _, inputs = model.clean(blocks.ids)
    g = decomposition.logits(inputs, real).clamp(0, 1)[real]
    moments, silent, outputs = [], [], []
    by_site = zip(decomposition.sites, model.modules, inputs, g.split(decomposition.counts, -1), strict=True)
    for site, module, x, site_g in by_site:
        read, write = decomposition.factors(site)
        x = x[real].float()
        moments.append(x.T @ x)
        silent.append(((1 - site_g) * (x @ read)).square().sum(0) * write.square().sum(1))
        outputs.append((x @ module.matrix().T).square().sum())
    return Reads(moments, g.sum(0), torch.cat(silent), torch.stack(outputs))


def read_leaks(decomposition: Decomposition, reads: Reads) -> tuple[ReadLeak, ...]:
    """Of every site what its parts write where they are not important, as a share of its squared output (read_leak.py)."""
    by_site = zip(decomposition.sites, reads.silent.split(decomposition.counts), reads.outputs, strict=True)
    tiny = torch.finfo(reads.outputs.dtype).tiny
    return tuple(
        ReadLeak(site=site, share=(silent.sum() / output.clamp_min(tiny)).item())
        for site, silent, output in by_site
    )
