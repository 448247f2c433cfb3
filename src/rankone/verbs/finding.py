"""Verbs that find parts and fit their scales: fetch, find, sharpen, tune, side-effects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, PrivateAttr, model_validator

from rankone.core.fields import Domains, Names, Positional, Reads, Request, apart
from rankone.edits import requests as sharpening
from rankone.experiments import requests as tuning
from rankone.models.sources import fetchable
from rankone.opening import Opening
from rankone.render.columns import Column
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.verbs.editing import members_of
from rankone.verbs.verb import Verb

if TYPE_CHECKING:
    from rankone.edits.finding.request import FoundPart


class FetchRequest(fetchable.FetchRequest, Request):
    """Which model to bring, and where to."""


class FetchReply(Reply):
    """What was brought; precision says what the weights went through."""

    name: str
    out: Path
    source: str
    precision: str
    licence: str
    parameters: int

    def tables(self) -> Sequence[Table]:
        """One row per fact."""
        rows = [[key, value] for key, value in self.model_dump(mode="json", exclude={"out"}).items()]
        return (Table.of(f"{self.out}: a plain Hugging Face folder", ["", "value"], rows),)


def fetch(opening: Opening, request: FetchRequest) -> FetchReply:  # noqa: ARG001
    """Bring a small known model as a plain Hugging Face folder."""
    from rankone.models.sources import fetching

    fetched = fetching.fetch(request)
    return FetchReply(out=fetched.path, **fetched.model_dump(exclude={"path"}))


class FindRequest(Request):
    """One behaviour to find a part for, and the text it must not touch."""

    of: Annotated[str, Domains()] = Field(description="domain whose cross-entropy the part should raise")
    against: Annotated[Names, Domains()] = Field((), description="domains to spare; default all others")
    sites: Names = Field((), description="patterns of module paths; default the late half")
    sources: Names = Field((), description="sources of parts, as neuron,contrast; default all")
    also: Names = Field((), description="parts to measure whatever the shortlist says")
    shortlist: int = Field(2, gt=0, description="parts measured per source")
    tokens: int = Field(1500, gt=0, description="training tokens per domain")
    rank_tokens: int = Field(120, gt=0, description="validation tokens per domain to measure on")
    tolerance: Names = Field(
        (),
        description="most rise in nats per token: one number, or en=0.02,code=0.02,other=0.05,about=0.3 (the default)",
    )
    seed: int = Field(0, description="of random directions and the order of passages")
    out: Path | None = Field(None, description="save the measured parts here; must not exist")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        apart(self.of, self.against)
        return self


class FindRow(Reply):
    """One measured part: its best α, what that does to validation text, and what else is known of it."""

    part: str
    source: str
    alpha: float
    rise: float
    error: float | None
    worst: float
    worst_domain: str
    others: dict[str, float]
    about: float | None
    removed: bool
    separation: float | None
    coverage: float | None
    slope: float | None


class FindReply(Reply):
    """Measured parts, the best first, and which source won."""

    of: str
    against: tuple[str, ...]
    chance: float
    tolerance: dict[str, float]
    winner: str
    seconds: float
    rows: tuple[FindRow, ...]
    out: Path | None = None

    def tables(self) -> Sequence[Table]:
        """One row per part."""
        columns = [
            Column("part", key=True, priority=9),
            Column("α", "+.3g", priority=8),
            Column("rise", "+.2f", priority=8),
            Column("worst", "+.3f", priority=7),
            Column("on", priority=6),
            Column("at chance", priority=5),
            Column("about", "+.2f", priority=4),
            Column("separation", ".3g", priority=3),
            Column("∂CE/∂α", "+.3g", priority=2),
        ]
        rows = [
            [r.part, r.alpha, r.rise, r.worst, r.worst_domain, r.removed, r.about, r.separation, r.slope]
            for r in self.rows
        ]
        caption = (
            f"rise: of {self.of} on validation text, nats per token, at the best α that keeps every other domain within its "
            f"tolerance ({', '.join(f'{d} {t:g}' for d, t in self.tolerance.items())}); worst: the largest of those; about: "
            f"English about the country. {self.seconds:.0f} s"
        )
        return (Table.of(f"Parts for {self.of}, by what they do", columns, rows, caption, strong=[0]),)

    def lines(self) -> Sequence[str]:
        """Which source won, and how to set the number."""
        best = self.rows[0]
        saved = "" if self.out is None else f" --parts {self.out}"
        return (
            f"best source: {self.winner}",
            f"to set it: rankone edit {best.part}={best.alpha:.4g}{saved} --save DIR",
        )


def find(opening: Opening, request: FindRequest) -> FindReply:
    """Find the part that removes a behaviour and spares the rest, among parts of every source, by measuring."""
    from rankone.edits.finding import find as room
    from rankone.edits.finding.request import FindRequest as Asked

    search = room.find(opening.workspace, Asked.checked(request.model_dump(), "find"))
    return FindReply(
        of=search.of,
        against=tuple(search.against),
        chance=search.chance,
        tolerance={**{d: search.tolerance.of(d) for d in search.against}, "about": search.tolerance.about},
        winner=search.winner,
        seconds=sum(search.seconds.values()),
        rows=tuple(_row(part) for part in search.parts),
        out=request.out,
    )


def _row(part: FoundPart) -> FindRow:
    return FindRow(**part.model_dump(include=set(FindRow.model_fields)))


class SharpenRequest(sharpening.SharpenRequest, Request):
    """Parts to sharpen, for which domain."""

    names: Annotated[Names, Positional()] = Field(min_length=1, description="parts to sharpen")
    out: Path = Field(description="save the sharpened parts here; must not exist")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        apart(self.of, self.against)
        return self


class SharpenReply(sharpening.SharpenReply, Reply):
    """What came of each part: leak (v·x on other text over that on target text), cosine of old and new v, fidelity."""

    out: Path

    def tables(self) -> Sequence[Table]:
        """One row per part."""
        caption = (
            "leak: root mean square of v·x on other text over that on target text; fidelity: correlation of the old and the "
            "new v·x on target text"
        )
        columns = ["part", "leak before", "after", "cosine", "fidelity"]
        rows = [list(part.model_dump().values()) for part in self.parts]
        return (Table.of(f"Sharpened for {self.of}", columns, rows, caption),)

    def lines(self) -> Sequence[str]:
        """How to use them."""
        return (f"saved {self.out}: give --parts {self.out} to edit and tune",)


def sharpen(opening: Opening, request: SharpenRequest) -> SharpenReply:
    """Refit what parts read in closed form, so that they answer less to other text; what they write stays."""
    from rankone.edits import sharpen as room
    from rankone.parts.storage import save_parts

    sharpened, reply = room.sharpen(opening.bare, request, opening.book)
    save_parts([sharpened], opening.model, request.out, {"of": request.of, "parts": list(request.names)})
    return SharpenReply(**dict(reply), out=request.out)


class TuneRequest(tuning.TuneRequest, Request):
    """Parts whose scale is fitted, what to forget and what to hold."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        apart(self.forget, self.retain)
        return self


class TuneReply(tuning.TuneReply, Reply):
    """The fitted scales and what they do; met: the forget domain is at chance and no retained domain rose by the bar."""


def tune(opening: Opening, request: TuneRequest) -> TuneReply:
    """Fit the scales of chosen parts to forget one domain, say whether the aim was met, and save the edit."""
    from rankone.experiments import tuning as room
    from rankone.runtime.progress import meter

    scaled = members_of(opening, request.scale)
    with meter("fit", 2) as bar:
        reply = room.tune(opening.workspace, request, scaled, opening.book, bar)
    return TuneReply(**dict(reply))


class SideEffectsRequest(Request):
    """An edit, and which prompts are asked before and after it."""

    edit: Annotated[Path, Positional(), Reads("edit")] = Field(description="saved edit")
    target: str | None = Field(None, description="the domain that is edited: what asks for it is told apart")
    tokens: int = Field(48, gt=0, description="tokens of an answer at most")
    chat: bool | None = Field(None, description="in the chat template; default where the tokenizer has one")
    html: Path | None = Field(None, description="write a page with all answers; must not exist")


class EffectShare(Reply):
    """One kind of prompt: how many answers degenerate before, after, and newly so; how many stay word for word."""

    group: str
    prompts: int
    before: int
    after: int
    new: int
    same: int
    new_low: float
    new_high: float


class SideEffectsReply(Reply):
    """Answers before and after an edit, by kind of prompt."""

    target: str | None
    chat: bool
    shares: tuple[EffectShare, ...]
    html: Path | None = None
    _tables: tuple[Table, ...] = PrivateAttr(())

    def tables(self) -> Sequence[Table]:
        """Shares by kind, then the answers that went wrong."""
        return self._tables

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

    edit = LowRankEdit.from_pretrained(request.edit)
    edit.check_base(opening.model)
    asked = request.model_dump(include={"target", "tokens", "chat"})
    effects = room.side_effects(opening.bare, edit, room.SideEffectRequest.checked(asked, "side-effects"))
    if request.html is not None:
        write_text(request.html, side_effects_page(effects))
    shares = [
        EffectShare(
            group=s.group,
            prompts=s.prompts,
            before=s.before,
            after=s.after,
            new=s.new,
            same=s.same,
            new_low=s.new_interval[0],
            new_high=s.new_interval[1],
        )
        for s in effects.by_kind()
    ]
    reply = SideEffectsReply(
        target=request.target, chat=effects.chat, shares=tuple(shares), html=request.html
    )
    reply._tables = (shares_table(effects), answers_table(effects))
    return reply


_PARTS = ("model", "decomposition", "parts", "text", "device", "dtype")

VERBS = (
    Verb("fetch", FetchRequest, FetchReply, fetch, writes=("out",)),
    Verb("find", FindRequest, FindReply, find, _PARTS, first="model", writes=("out",)),
    Verb("sharpen", SharpenRequest, SharpenReply, sharpen, _PARTS, writes=("out",)),
    Verb("tune", TuneRequest, TuneReply, tune, (*_PARTS, "clusters"), first="model", writes=("save",)),
    Verb(
        "side-effects",
        SideEffectsRequest,
        SideEffectsReply,
        side_effects,
        ("model", "text", "device", "dtype"),
        writes=("html",),
    ),
)
