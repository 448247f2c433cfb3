"""Controls with as many learned numbers as one scalar has: a part of another source in the picked part's matrix, one scale.

Without them a good single scalar would only say that one parameter harms little. Each is the source's first part there, made
from the text that the pick was made from, and fitted like the scalar. The raw neuron is in coordinate.py.
"""

from __future__ import annotations

from rankone.edits.adapters import Method
from rankone.edits.methods.kind import Kind, Target
from rankone.edits.scales import Scales, both_signs
from rankone.models.sites import site_named
from rankone.parts.parts import Parts
from rankone.parts.sources import make_parts, source_named


def control_parts(target: Target, source: str) -> Parts:
    """The first part of a source in the picked part's matrix."""
    sites = [site_named(target.model, target.site)]
    if not source_named(source).reads_text:
        return make_parts(source, sites)
    wanted, others = target.require_moments(sites, source)
    return make_parts(source, sites, "forget", wanted, others)


def _control(source: str, target: Target) -> list[Method]:
    parts = control_parts(target, source)
    return both_signs(parts, parts.names()[:1], source)


def _kind(source: str, title: str, slot: int) -> Kind:
    return Kind(source, title, 14, slot, lambda t: _control(source, t), (0.5,), (1.0,), one_scale=True)


def _ablated(target: Target) -> list[Method]:
    """The difference of mean outputs taken out of everything that writes to the residual stream."""
    sites = target.outputs()
    wanted, others = target.require_moments(sites, "means_ablated")
    parts = make_parts("means", sites, "forget", wanted, others)
    return [Scales(parts, parts.names(), "means_ablated", 0.0)]


KINDS = (
    _kind("random", "one random direction", 5),
    _kind("singular", "the top singular direction", 6),
    _kind("contrast", "the top contrast direction", 7),
    _kind("discriminant", "the discriminant direction", 2),
    Kind(
        "means_ablated",
        "difference of means taken out",
        11,
        3,
        _ablated,
        (1.0,),
        (1.0,),
        trained=False,
        spends="text",
    ),
)
