"""One scale per part: a single part, or the sixteen that rank highest, started on both sides of 1."""

from __future__ import annotations

from rankone.edits.adapters import Method
from rankone.edits.methods.kind import Kind, Target
from rankone.edits.scales import both_signs


def _single(target: Target) -> list[Method]:
    return both_signs(target.parts, [target.single], "scalar")


def _several(target: Target) -> list[Method]:
    return both_signs(target.parts, list(target.several), "top16")


KINDS = (
    Kind("scalar", "one scalar", 0, 0, _single, (0.5,), (1.0,), one_scale=True),
    Kind("top16", "top-16 scalars", 2, 3, _several, (0.1, 0.03)),
)
