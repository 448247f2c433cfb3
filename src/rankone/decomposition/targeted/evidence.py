"""The evidence of a targeted decomposition on broad text, where delta is always on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.decomposition.evidence.attack import adversarial_rows, adversary_used
from rankone.decomposition.evidence.maskings import masking_rows
from rankone.decomposition.evidence.records import Account, Evidence
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
        outputs: dict[str, Tensor] | None = None,
    ) -> Float[Tensor, "b t out"]:
        """Output with every subcomponent scaled by its mask, whatever `delta` says."""
        del delta
        on = torch.ones(*ids.shape[:2], len(self.decomposition.sites), device=ids.device)
        return super().masked(ids, mask, on, route, outputs)


def broad_evidence(
    model: DeltaOn,
    blocks: Blocks,
    narrow: Evidence,
    ladder: Sequence[int],
    original: dict[str, int] | None = None,
    bar: Meter | None = None,
) -> Account:
    """CE and KL under the standard maskings and the adversary's ladder, and the counts of active subcomponents.

    narrow: the evidence of the same decomposition on the text it explains.
    """
    text = EvidenceText(model, blocks)
    rows = [row for row in masking_rows(text) if not row.delta]
    rows += adversarial_rows(text, ladder, delta=False, bar=bar)
    return Account(
        tokens=int(blocks.present.sum()),
        text=narrow.text,
        rows=tuple(r if r.delta is None else r.model_copy(update={"delta": True}) for r in rows),
        **dict(sparsity(text, original)),
        faithfulness=narrow.faithfulness,
        delta_norm_share=narrow.delta_norm_share,
        adversary=adversary_used(text, ladder),
    )
