"""Verbs that read a change of weights in terms of parts, and make one from a part: project, rewrite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rankone.edits.projection.requests import ProjectReply, ProjectRequest
from rankone.edits.rewriting.requests import RewriteReply, RewriteRequest
from rankone.metrics.damage_record import DomainDamage, measured
from rankone.opening import Opening
from rankone.verbs.verb import Verb

if TYPE_CHECKING:
    from torch import Tensor

    from rankone.edits.lowrank import LowRankEdit
    from rankone.edits.projection.project import Projection
    from rankone.parts.book import Book


def project(opening: Opening, request: ProjectRequest) -> ProjectReply:
    """Express a LoRA as scales of parts: which α come closest to it, and what no part accounts for."""
    from rankone.edits.projection.project import project as nearest_scales
    from rankone.edits.projection.project import read_change

    change = read_change(request.adapter, opening.model)
    second = _second_moments(opening, request, change) if request.norm == "text" else None
    made = nearest_scales(change, _book(opening, request, change), second, request.keep)
    parts = made.parts()
    adapter, projection = (_damage(opening, edit, request.tokens) for edit in (change, made.edit()))
    return ProjectReply(
        adapter=request.adapter,
        norm=request.norm,
        explained=made.explained,
        sites=tuple(made.sites()),
        parts=tuple(parts[: request.top]),
        total_parts=len(parts),
        adapter_damage=adapter,
        projection_damage=projection,
        saved=_save(opening, request, made, {"projection": projection, "whole": adapter}),
    )


def _book(opening: Opening, request: ProjectRequest, change: LowRankEdit) -> Book:
    """The opened parts, and those that follow from the weights at the sites of the change."""
    from rankone.models.sites import sites_named
    from rankone.parts.sources import make_parts

    sites = list(sites_named(opening.model, change.sites).values())
    return opening.book.joined([make_parts(source, sites, count=request.count) for source in request.sources])


def _second_moments(opening: Opening, request: ProjectRequest, change: LowRankEdit) -> dict[str, Tensor]:
    """E[x xᵀ] of each site on training text, every domain alike."""
    from rankone.models.sites import sites_named
    from rankone.parts.moments import collect_moments, combined

    sites = list(sites_named(opening.model, change.sites).values())
    bare = opening.bare
    text = bare.text(bare.corpus.domains(), "train", request.tokens)
    each = [
        collect_moments(opening.model, sites, blocks.ids, blocks.valid, "input") for blocks in text.values()
    ]
    return {name: m.input_second() for name, m in combined(each, [1.0] * len(each)).items()}


def _damage(opening: Opening, edit: LowRankEdit, tokens: int) -> tuple[DomainDamage, ...]:
    from rankone.experiments.measure import edit_damage

    text = opening.bare.text(opening.corpus.domains(), "test", tokens)
    return tuple(DomainDamage.of(d, damage) for d, damage in edit_damage(opening.model, edit, text).items())


def _save(
    opening: Opening,
    request: ProjectRequest,
    made: Projection,
    damages: Mapping[str, tuple[DomainDamage, ...]],
) -> dict[str, Path]:
    wanted = {
        "projection": (request.out, made.edit),
        "left over": (request.left_over, made.left_over),
        "whole": (request.whole, lambda: made.change),
    }
    saved: dict[str, Path] = {}
    for what, (path, edit) in wanted.items():
        if path is not None:
            about = {"adapter": str(request.adapter), **measured(damages.get(what, ()))}
            saved[what] = edit().bind(opening.model).save_pretrained(path, about)
    return saved


def rewrite(opening: Opening, request: RewriteRequest) -> RewriteReply:
    """Make a part write a token where it fires: its write vector becomes the token's direction, or a trained one."""
    from rankone.edits.rewriting.job import rewrite as rewrite_part

    made = rewrite_part(opening.bare, opening.book, request)
    domains = _damage(opening, made.edit, request.tokens)
    if request.out is not None:
        about = {"rewrite": request.model_dump(mode="json"), **measured(domains)}
        made.edit.bind(opening.model).save_pretrained(request.out, about)
    direction = made.direction
    return RewriteReply(
        part=request.part,
        token=request.token,
        direction="trained" if direction is None else direction.source,
        cosine=None if direction is None else direction.cosine,
        raised=None if direction is None else direction.raised,
        sign=made.places.sign,
        before=made.before,
        firings=int(made.places.fires.sum()),
        tried=tuple(made.tried),
        taken=made.taken,
        met=made.taken.probability >= request.aim,
        held_out=made.held_out,
        domains=domains,
        saved=request.out,
    )


_PARTS = ("model", "decomposition", "parts", "text", "device", "dtype")

VERBS = (
    Verb("project", ProjectRequest, ProjectReply, project, _PARTS, writes=("out", "left_over", "whole")),
    Verb("rewrite", RewriteRequest, RewriteReply, rewrite, _PARTS, writes=("out",)),
)
