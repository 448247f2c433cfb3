"""One scale on the picked part with its read direction refitted against the other domains (edits/sharpen.py)."""

from __future__ import annotations

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.methods.kind import Kind, Target
from rankone.edits.scales import both_signs


def _starts(target: Target) -> list[Method]:
    if target.sharpened is None:
        raise RankOneError("the method 'sharpened' needs text to refit the part on: run it as a job.")
    parts = target.sharpened()
    return both_signs(parts, parts.names(), "sharpened")


KINDS = (Kind("sharpened", "one scalar, read sharpened", 0, 6, _starts, (0.5,), (1.0,), one_scale=True),)
