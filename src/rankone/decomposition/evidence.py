"""How good a decomposition is: the evidence table.

CE and KL under the standard maskings, the adversary's ladder with its stated budget, L0 and alive subcomponents per
site and layer, faithfulness. Nothing here is optimised by training except through its own losses; CI-as-mask and
rounded masks are monitored only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from rankone.decomposition.model import DecomposedModel
from rankone.decomposition.reconstruction import kl_per_position
from rankone.decomposition.site import delta_of, faithfulness
from rankone.progress import Meter
from rankone.text.blocks import Blocks

ALIVE_MEAN_IMPORTANCE = 1e-6
PGD_STEP = 0.1
ROWS_AT_ONCE = 8


class EvidenceText:
    """Blocks with the clean logits and importances of a decomposed model on them."""

    def __init__(self, model: DecomposedModel, blocks: Blocks) -> None:
        self.model, self.blocks = model, blocks
        self.ids, self.present = blocks.ids, blocks.present
        clean, importance = [], []
        for ids, present in zip(self.ids.split(ROWS_AT_ONCE), self.present.split(ROWS_AT_ONCE), strict=True):
            logits, inputs = model.clean(ids)
            clean.append(logits)
            with torch.no_grad():
                importance.append(model.decomposition.logits(inputs, present).clamp(0, 1))
        self.clean: Float[Tensor, "b t vocab"] = torch.cat(clean)
        self.importance: Float[Tensor, "b t c"] = torch.cat(importance)

    def parts(self) -> list[slice]:
        """Row ranges small enough for one forward."""
        return [slice(i, i + ROWS_AT_ONCE) for i in range(0, len(self.ids), ROWS_AT_ONCE)]

    def measure(self, masks: Callable[[slice], tuple[Tensor, Tensor | None]]) -> dict[str, float]:
        """Mean CE (scored tokens) and KL (all real positions) in nats under masks(rows) → (mask, delta)."""
        ce, kl, scored, positions = 0.0, 0.0, 0, 0
        for rows in self.parts():
            mask, delta = masks(rows)
            with torch.no_grad():
                logits = self.model.masked(self.ids[rows], mask, delta)
            present, valid = self.present[rows], self.blocks.valid[rows]
            kl += kl_per_position(self.clean[rows], logits)[present].sum().item()
            ce += F.cross_entropy(
                logits[:, :-1][valid[:, 1:]].float(), self.ids[rows][:, 1:][valid[:, 1:]], reduction="sum"
            ).item()
            positions += int(present.sum())
            scored += int(valid[:, 1:].sum())
        return {"ce": ce / scored, "kl": kl / positions}


def masking_rows(text: EvidenceText, seed: int = 0) -> list[dict[str, Any]]:
    """CE and KL under unmasked, stochastic, CI-as-mask, rounded and zero masks, without and with delta."""
    generator = torch.Generator().manual_seed(seed)
    g = text.importance
    sites = len(text.model.decomposition.sites)

    def noise(rows: slice, channels: int) -> Tensor:
        shape = (*text.ids[rows].shape, channels)
        return torch.rand(shape, generator=generator)

    def stochastic(rows: slice) -> Tensor:
        return g[rows] + (1 - g[rows]) * noise(rows, g.shape[-1])

    kinds: dict[str, Callable[[slice], Tensor]] = {
        "unmasked": lambda rows: torch.ones_like(g[rows]),
        "stochastic": stochastic,
        "CI as mask": lambda rows: g[rows],
        "rounded > 0": lambda rows: (g[rows] > 0).float(),
        "rounded > 0.1": lambda rows: (g[rows] > 0.1).float(),
        "rounded > 0.5": lambda rows: (g[rows] > 0.5).float(),
        "zero": lambda rows: torch.zeros_like(g[rows]),
    }
    table = [{"masking": "target", "delta": None, **_target(text)}]
    for name, mask in kinds.items():
        table.append(
            {"masking": name, "delta": False, **text.measure(lambda rows, mask=mask: (mask(rows), None))}
        )
    table.append(
        {
            "masking": "stochastic",
            "delta": True,
            **text.measure(lambda rows: (stochastic(rows), noise(rows, sites))),
        }
    )
    return table


def _target(text: EvidenceText) -> dict[str, float]:
    valid = text.blocks.valid[:, 1:]
    ce = F.cross_entropy(text.clean[:, :-1][valid].float(), text.ids[:, 1:][valid]).item()
    return {"ce": ce, "kl": 0.0}


def adversarial_rows(
    text: EvidenceText, ladder: Sequence[int], delta: bool, seed: int = 0, bar: Meter | None = None
) -> list[dict[str, Any]]:
    """CE and KL after each number of PGD steps of the ladder.

    One source vector shared by all positions of the text, random start, signed gradient, step 0.1, clamped to [0, 1];
    the KL is that of the last iterate. `delta` lets the adversary also weight each site's delta; else delta is off.
    """
    decomposition = text.model.decomposition
    total, sites = decomposition.total, len(decomposition.sites)
    channels = total + (sites if delta else 0)
    source = torch.rand(channels, generator=torch.Generator().manual_seed(seed))
    table = []
    for step in range(1, max(ladder) + 1):
        source = (source + PGD_STEP * _source_gradient(text, source, delta).sign()).clamp(0, 1)
        if bar is not None:
            bar.advance(1)
        if step in ladder:
            measured = text.measure(partial(_adversarial_masks, text, source, delta))
            table.append({"masking": f"adversarial, {step} PGD steps", "delta": delta, **measured})
    return table


def _adversarial_masks(
    text: EvidenceText, source: Tensor, delta: bool, rows: slice
) -> tuple[Tensor, Tensor | None]:
    total = text.model.decomposition.total
    g = text.importance[rows]
    own = source[total:].expand(*g.shape[:2], -1) if delta else None
    return g + (1 - g) * source[:total], own


def _source_gradient(text: EvidenceText, source: Tensor, delta: bool) -> Tensor:
    leaf = source.clone().requires_grad_(True)
    gradient = torch.zeros_like(source)
    positions = text.present.sum()
    for rows in text.parts():
        mask, own = _adversarial_masks(text, leaf, delta, rows)
        with torch.autocast(text.ids.device.type, torch.bfloat16):
            logits = text.model.masked(text.ids[rows], mask, own)
        kl = kl_per_position(text.clean[rows], logits)[text.present[rows]]
        # Not backward(): the target's own weights may ask for gradients too.
        gradient += torch.autograd.grad(kl.sum() / positions, leaf)[0]
    return gradient


def sparsity(text: EvidenceText, original: dict[str, int] | None = None) -> dict[str, Any]:
    """L0 (mean number with g > 0) and alive (mean g > 1e-6) in all, per layer and per site.

    original: subcomponents per site before dead ones were folded into delta, for the shares.
    """
    decomposition = text.model.decomposition
    present: Bool[Tensor, "b t"] = text.present
    g = text.importance[present]
    firing, mean = (g > 0).float().mean(0), g.mean(0)
    per_site = []
    for site, part, own in zip(
        decomposition.sites,
        firing.split(decomposition.counts),
        mean.split(decomposition.counts),
        strict=True,
    ):
        per_site.append(
            {
                "site": site,
                "l0": part.sum().item(),
                "alive": int((own > ALIVE_MEAN_IMPORTANCE).sum()),
                "kept": len(part),
                "subcomponents": (original or {}).get(site, len(part)),
            }
        )
    return {
        "l0_total": sum(s["l0"] for s in per_site),
        "alive_total": sum(s["alive"] for s in per_site),
        "subcomponents": sum(s["subcomponents"] for s in per_site),
        "kept": sum(s["kept"] for s in per_site),
        "per_layer": _per_layer(per_site),
        "per_site": per_site,
    }


def _per_layer(per_site: list[dict[str, Any]]) -> list[dict[str, Any]]:
    layers: dict[str, dict[str, Any]] = {}
    for site in per_site:
        found = re.search(r"\.(\d+)\.", site["site"])
        row = layers.setdefault(found.group(1) if found else "-", {"l0": 0.0, "alive": 0, "subcomponents": 0})
        for key in row:
            row[key] += site[key]
    return [{"layer": layer, **row} for layer, row in layers.items()]


def gather_evidence(
    model: DecomposedModel,
    blocks: Blocks,
    ladder: Sequence[int],
    original: dict[str, int] | None = None,
    bar: Meter | None = None,
) -> dict[str, Any]:
    """The whole evidence of a decomposition on some text, as plain values."""
    text = EvidenceText(model, blocks)
    rows = masking_rows(text)
    for delta in (False, True):
        rows += adversarial_rows(text, ladder, delta, bar=bar)
    decomposition = model.decomposition
    weights = [module.matrix() for module in model.modules]
    pairs = [decomposition.factors(s) for s in decomposition.sites]
    deltas = [delta_of(w, *pair).detach() for w, pair in zip(weights, pairs, strict=True)]
    norms = torch.stack([w.square().sum() for w in weights]).sum()
    return {
        "tokens": int(blocks.present.sum()),
        "rows": rows,
        **sparsity(text, original),
        "faithfulness": faithfulness(deltas).item(),
        "delta_norm_share": (torch.stack([d.square().sum() for d in deltas]).sum() / norms).item(),
        "adversary": {
            "sources": "one vector shared over all positions",
            "step": PGD_STEP,
            "ladder": list(ladder),
        },
    }
