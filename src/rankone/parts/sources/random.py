"""Random output directions: a control with as many parameters as any part, that knows nothing."""

# Tensor.norm has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import hashlib

import torch

from rankone.parts.sources.material import Made, Material, along_outputs


def random(material: Material) -> Made:
    """`count` directions uniform on the sphere; the same for the same seed, site and number, whatever the count."""
    digest = hashlib.sha256(f"{material.seed} {material.site.name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    drawn = torch.randn(material.count, material.site.d_out, generator=generator).to(material.weight)
    return along_outputs(drawn / drawn.norm(dim=1, keepdim=True), material.weight)
