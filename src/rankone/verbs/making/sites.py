"""The matrices of a model, and what decomposing them takes: sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rankone.core.fields import Names, Request, SitePatterns
from rankone.opening import Opening
from rankone.recipes import Recipe
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.verbs.verb import Verb

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from rankone.decomposition.config import DecomposeConfig


class SitesRequest(Request):
    """Which matrices of a model."""

    pattern: Annotated[Names, SitePatterns()] = Field(
        (), description="fnmatch patterns of module paths; default all"
    )
    estimate: bool = Field(False, description="memory and time of decomposing them")
    recipe: Recipe | None = Field(
        None,
        description="recipe of the estimate: a YAML file, or one that ships, such as targeted-german-mini; "
        "default 16 × 128 tokens",
    )


class SiteRow(Reply):
    """One weight matrix that can be decomposed or edited."""

    site: str
    d_out: int
    d_in: int
    suggested_count: int
    layer: str
    note: str


class SitesReply(Reply):
    """The sites of a model, what is left out and why, and what decomposing them takes, if asked.

    tables: the sites, what is left out, then the estimate.
    """

    model: str
    sites: tuple[SiteRow, ...]
    left_out: dict[str, str]


def _estimated(request: SitesRequest) -> DecomposeConfig | None:
    from rankone.decomposition.config import DecomposeConfig

    return request.recipe and DecomposeConfig.from_yaml(request.recipe, sites=list(request.pattern) or None)


def sites(opening: Opening, request: SitesRequest) -> SitesReply:
    """List the weight matrices that can be decomposed or edited, with shapes and a suggested C; reads no weights."""
    from rankone.decomposition.config import DecomposeConfig
    from rankone.models.anatomy import fused_note
    from rankone.models.context import usual_context
    from rankone.models.listing import site_tables, suggested_count
    from rankone.models.loading import load_skeleton
    from rankone.models.sites import find_sites, left_out

    name, pattern = opening.options.model, list(request.pattern)
    skeleton = load_skeleton(name)
    matched = find_sites(skeleton, pattern or None)
    config = _estimated(request)
    if config is None and request.estimate:
        context = usual_context(skeleton, 128)
        config = DecomposeConfig(mixture={}, steps=1000, context=context, sites=pattern or ["*"])
    tables = [] if config is None else estimate(skeleton, config)
    rows = [
        SiteRow(
            site=s.name,
            d_out=s.d_out,
            d_in=s.d_in,
            suggested_count=suggested_count(s),
            layer=type(s.module).__name__,
            note=fused_note(s.name),
        )
        for s in matched
    ]
    reply = SitesReply(model=name, sites=tuple(rows), left_out=left_out(skeleton))
    return reply.showing(*site_tables(name, skeleton, matched), *tables)


def estimate(model: PreTrainedModel, config: DecomposeConfig) -> list[Table]:
    """Memory and time of a run on the device it will use."""
    from rankone.decomposition.planning.estimate import estimate_on, estimate_tables
    from rankone.decomposition.planning.size import run_size
    from rankone.models.context import require_context
    from rankone.runtime.device import run_device

    require_context(model, config.context)
    size, device = run_size(model, config), model.device
    if device.type == "meta":
        device = run_device()
    return estimate_tables(estimate_on(size, config, device), size, device)


VERBS = (
    Verb(
        "sites",
        SitesRequest,
        SitesReply,
        sites,
        ("model",),
        first="model",
        needs=("model",),
        without=dict.fromkeys(("device", "dtype"), "no weights are read"),
        recipe=_estimated,
        cost="seconds",
    ),
)
