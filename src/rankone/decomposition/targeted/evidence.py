"""The evidence of a targeted decomposition on broad text, where delta is always on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.decomposition.evidence.attack import adversarial_rows
from rankone.decomposition.evidence.maskings import masking_rows
from rankone.decomposition.evidence.sparsity import sparsity
from rankone.decomposition.evidence.text import EvidenceText
from rankone.decomposition.masking.masks import MaskParts
from rankone.decomposition.model import DecomposedModel
from rankone.runtime.progress import Meter
from rankone.text.blocks import Blocks


class DeltaOn(DecomposedModel):
    """A decomposed model whose deltas stay fully on: with all masks 1 it is the target."""

    def masked(
        self,
        ids: Tensor,
        mask: Float[Tensor, "b t c"] | Sequence[MaskParts],
        delta: Float[Tensor, "b t sites"] | None = None,
        route: Float[Tensor, "b t sites"] | None = None,
    ) -> Float[Tensor, "b t out"]:
        """Output with every subcomponent scaled by its mask, whatever `delta` says."""
        del delta
        on = torch.ones(*ids.shape[:2], len(self.decomposition.sites), device=ids.device)
        return super().masked(ids, mask, on, route)


def broad_evidence(
    model: DeltaOn,
    blocks: Blocks,
    ladder: Sequence[int],
    original: dict[str, int] | None = None,
    bar: Meter | None = None,
) -> dict[str, Any]:
    """CE and KL under the standard maskings and the adversary's ladder, and the counts of active subcomponents."""
    text = EvidenceText(model, blocks)
    rows = [row for row in masking_rows(text) if not row["delta"]] + adversarial_rows(
        text, ladder, delta=False, bar=bar
    )
    rows = [{**row, "delta": None if row["delta"] is None else True} for row in rows]
    return {"tokens": int(blocks.present.sum()), "rows": rows, **sparsity(text, original)}
