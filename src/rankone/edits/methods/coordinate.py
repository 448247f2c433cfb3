"""The control a critic asks for first: the raw neuron or head channel that is most of the picked part, with one scale."""

from __future__ import annotations

from rankone.edits.adapters import Method
from rankone.edits.methods.kind import Kind, Target
from rankone.edits.scales import both_signs
from rankone.models.anatomy import in_attention, reads_hidden
from rankone.models.sites import site_named
from rankone.parts.sources import make_parts


def coordinate_of(target: Target) -> str:
    """Name of the coordinate of the part's own site that holds most of its hidden side: `neuron/…` or `channel/…`."""
    site = site_named(target.model, target.site)
    v, u = target.parts.vectors(target.single)
    hidden = v if reads_hidden(site.name, site.d_out, site.d_in) else u
    return f"{'channel' if in_attention(site.name) else 'neuron'}/{site.name}:{int(hidden.abs().argmax())}"


def _starts(target: Target) -> list[Method]:
    name = coordinate_of(target)
    origin, number = name.partition("/")[0], int(name.rpartition(":")[2])
    parts = make_parts(origin, [site_named(target.model, target.site)], numbers={target.site: [number]})
    return both_signs(parts, [name], "neuron")


KINDS = (Kind("neuron", "one raw neuron or channel", 1, 4, _starts, (0.5,), (1.0,), one_scale=True),)
