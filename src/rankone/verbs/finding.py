"""Verbs that find parts and fit their scales: fetch, collect, find, sharpen, tune, side-effects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rankone.answers.requests import CollectReply, CollectRequest, Share, SideEffectRequest
from rankone.core.fields import Positional, Reads
from rankone.edits.finding.found import Found
from rankone.edits.requests import FindRequest, SharpenReply, SharpenRequest
from rankone.experiments.requests import TuneReply, TuneRequest
from rankone.models.sources.fetchable import FetchReply, FetchRequest
from rankone.opening import Opening
from rankone.render.reply import Reply
from rankone.verbs.editing import members_of, unnamed
from rankone.verbs.verb import Opens, Verb


def fetch(opening: Opening, request: FetchRequest) -> FetchReply:  # noqa: ARG001
    """Fetch a small known model as a plain Hugging Face folder."""
    from rankone.models.sources import fetching

    return fetching.fetch(request)


def find(opening: Opening, request: FindRequest) -> Found:
    """Find the part that removes a behaviour and spares the rest, among parts of every source, by measuring."""
    from rankone.edits.finding import find as room
    from rankone.edits.finding.request import FindConfig

    answer = room.find(opening.workspace, request.as_config(FindConfig, "find"))
    return answer.model_copy(update={"opened": opening.options.spelled("model", "decomposition", "text")})


class SharpenAndSave(SharpenRequest):
    """Parts to sharpen, for which domain, and where they are saved."""

    out: Path = Field(description="save the sharpened parts here; must not exist")


def sharpen(opening: Opening, request: SharpenAndSave) -> SharpenReply:
    """Refit what parts read in closed form, so that they respond less to other text; what they write stays."""
    from rankone.edits import sharpen as room
    from rankone.parts.storage import save_parts

    sharpened, reply = room.sharpen(opening.bare, request, opening.book)
    save_parts(sharpened, opening.model, request.out, {"of": request.of, "parts": list(request.names)})
    return reply.model_copy(update={"out": request.out})


def tune(opening: Opening, request: TuneRequest) -> TuneReply:
    """Fit the scales of chosen parts to forget one domain, say whether the aim was met, and save the edit."""
    from rankone.experiments import tuning as room
    from rankone.runtime.progress import meter

    scaled = members_of(opening, request.scale)
    with meter("fit", 2) as bar:
        return room.tune(opening.workspace, request, scaled, opening.book, bar)


def _tune_unused(opening: Opening, request: TuneRequest) -> dict[Opens, str]:  # noqa: ARG001
    return unnamed(request.scale)


class SideEffectsRequest(SideEffectRequest):
    """An edit, and which prompts are asked before and after it."""

    edit: Annotated[Path, Positional(), Reads("edit")] = Field(description="saved edit")
    html: Path | None = Field(None, description="write a page with all answers; must not exist")


class SideEffectsReply(Reply):
    """Answers before and after an edit, by kind of prompt.

    tables: shares by kind, then the answers that went wrong.
    """

    target: str | None
    chat: bool
    shares: tuple[Share, ...]
    html: Path | None = None

    def lines(self) -> Sequence[str]:
        """Where the page is."""
        return () if self.html is None else (f"page: {self.html}",)


def side_effects(opening: Opening, request: SideEffectsRequest) -> SideEffectsReply:
    """Ask a set of prompts before and after an edit, and count the answers that degenerate."""
    from rankone.answers import sideeffects as room
    from rankone.answers.page import side_effects_page
    from rankone.answers.tables import answers_table, shares_table
    from rankone.core.artifact import write_text
    from rankone.edits.lowrank import LowRankEdit

    edit = LowRankEdit.from_pretrained(request.edit).check_base(opening.model)
    effects = room.side_effects(opening.bare, edit, request)
    if request.html is not None:
        write_text(request.html, side_effects_page(effects), new=True)
    shares = tuple(effects.by_kind())
    reply = SideEffectsReply(target=request.target, chat=effects.chat, shares=shares, html=request.html)
    wrong = [answers_table(effects)] if effects.newly_degenerate() else []
    return reply.showing(shares_table(effects), *wrong)


def collect(opening: Opening, request: CollectRequest) -> CollectReply:
    """Prompt a model and sort its answers by a habit: the result is text to find, tune and measure the habit on."""
    from rankone.answers import collecting as room

    return room.collect(opening.bare, request, opening.options.model)


_PARTS = ("model", "decomposition", "parts", "text", "device", "dtype")

VERBS = (
    Verb(
        "collect",
        CollectRequest,
        CollectReply,
        collect,
        ("model", "device", "dtype"),
        first="model",
        writes=("out",),
    ),
    Verb(
        "fetch",
        FetchRequest,
        FetchReply,
        fetch,
        writes=("out",),
        without=dict.fromkeys(("device", "dtype"), "files are brought, no model runs"),
    ),
    Verb("find", FindRequest, Found, find, _PARTS, first="model", writes=("out",)),
    Verb("sharpen", SharpenAndSave, SharpenReply, sharpen, _PARTS, writes=("out",)),
    Verb(
        "tune",
        TuneRequest,
        TuneReply,
        tune,
        (*_PARTS, "clusters", "harvest", "labels"),
        first="model",
        writes=("out",),
        unused=_tune_unused,
    ),
    Verb(
        "side-effects",
        SideEffectsRequest,
        SideEffectsReply,
        side_effects,
        ("model", "text", "device", "dtype"),
        writes=("html",),
    ),
)
