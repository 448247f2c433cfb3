"""The verb that names what parts do: label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from rankone.core.errors import RankOneError
from rankone.core.fields import Positional, Reads, Request
from rankone.core.paths import run_directory
from rankone.labels.model.budget import Caps, Estimate
from rankone.labels.model.server import Pace, Server
from rankone.labels.record import LabelDials, LabelSettings
from rankone.opening import Opening
from rankone.render.columns import Column
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.verbs.verb import Verb

if TYPE_CHECKING:
    from rankone.harvest.reading.store import HarvestStore
    from rankone.labels.model.client import ChatClient
    from rankone.labels.run import Outcome


class LabelRequest(LabelDials, Pace, Caps, Request):
    """A harvest to label, and the server to ask, if any."""

    harvest: Annotated[Path, Positional(), Reads("harvest")] = Field(description="harvest to label")
    out: Path = Field(description="where to write; must not exist")
    base_url: str | None = Field(
        None, description="OpenAI-compatible server, such as http://localhost:8000/v1; key: RANKONE_API_KEY"
    )
    model: str | None = Field(None, description="the server's model")
    held_out: Annotated[Path | None, Reads("harvest")] = Field(
        None, description="harvest of other text to score on"
    )
    estimate: bool = Field(False, description="print what it would take and stop")
    run: Path | None = Field(None, description="run directory (replies); default OUT.run")

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if (self.base_url is None) != (self.model is None):
            raise ValueError("--base-url and --model belong together: give both, or neither.")
        if self.estimate and self.base_url is None:
            raise ValueError("--estimate is about a server: give --base-url and --model.")
        of_a_server = self.changed("limit", "judged", *Pace.model_fields, *Caps.model_fields, "run")
        if of_a_server and self.base_url is None:
            raise ValueError(f"{of_a_server[0]} is about a server's labels: give --base-url and --model.")
        if self.held_out is not None and not self.score:
            raise ValueError("--held-out is text to score on: give --score too.")
        if self.max_cost is not None and not (self.price_in or self.price_out):
            raise ValueError("--max-cost needs prices: give --price-in and --price-out.")
        return self


class LabelRow(Reply):
    """One label: what the part does, how sure that is, its score by counts, who says so."""

    name: str
    label: str
    confidence: float
    firing_auc: float | None
    source: str


class LabelEstimate(Estimate):
    """What the model would be asked that no kept reply answers; cost in the unit of the prices that were given."""

    cost: float


class LabelReply(Reply):
    """The most frequent parts with their labels, and what was not labelled by the model; with --estimate that alone."""

    out: Path
    estimate: LabelEstimate | None = None
    statistical: int = 0
    by_model: int = 0
    capped: int = 0
    unanswered: int = 0
    rows: tuple[LabelRow, ...] = ()

    def tables(self) -> Sequence[Table]:
        """The most frequent parts."""
        if self.estimate is not None:
            rows = [[what.replace("_", " "), value] for what, value in self.estimate.model_dump().items()]
            return (Table.of("What the model would be asked", ["", "about"], rows),)
        if not self.rows:
            return ()
        caption = f"{self.statistical} labels by statistics, {self.by_model} by the model"
        if self.capped or self.unanswered:
            caption += f"; {self.capped} requests not sent at the cap, {self.unanswered} failed"
        rows = [[r.label, r.name, r.confidence, r.firing_auc, r.source] for r in self.rows]
        columns = ["label", Column("name", key=True), "confidence", "AUC of counts", "by"]
        return (Table.of(f"{self.out}: the most frequent parts", columns, rows, caption),)

    def lines(self) -> Sequence[str]:
        """How to go on after a cap."""
        if not self.capped:
            return ()
        return ("To go on, raise the cap, give another --out and, as --run, this run's directory.",)


def label(opening: Opening, request: LabelRequest) -> LabelReply:  # noqa: ARG001
    """Label every part of a harvest: by statistics, and by a language model if a server is given."""
    from contextlib import nullcontext

    from rankone.labels.run import label_harvest

    client = _client(request)
    with client or nullcontext():
        if client is not None and not request.estimate:
            client.require_server()
        pages = _opened(request.harvest)
        tested = _held_out(request.held_out, pages) if request.held_out is not None else None
        settings = request.as_config(LabelSettings, "label", threshold=pages.record.config.firing)
        kept, of = pages.artifact.fingerprint, pages.origin.decomposition
        made = label_harvest(pages, kept, request.out, settings, client, tested, request.estimate, of)
    if not request.estimate:
        return _labelled(made, request.out)
    assert made.estimate is not None  # of a server, without which --estimate is refused
    cost = request.cost(made.estimate.tokens_in, made.estimate.tokens_out)
    return LabelReply(out=request.out, estimate=LabelEstimate(**dict(made.estimate), cost=cost))


def _opened(path: Path) -> HarvestStore:
    from rankone.harvest.reading.store import HarvestStore

    return HarvestStore.open(path)


def _client(request: LabelRequest) -> ChatClient | None:
    """The client of the server that was named; its settings are checked before anything is read."""
    from rankone.labels.model.server import read_key
    from rankone.labels.run import open_client

    if request.base_url is None:
        return None
    server, caps = request.as_config(Server, "label"), request.as_config(Caps, "label")
    return open_client(server, read_key(request.base_url), caps, request.run or run_directory(request.out))


def _held_out(path: Path, harvest: HarvestStore) -> HarvestStore:
    held = _opened(path)
    if not held.origin.agrees(harvest.origin):
        raise RankOneError(
            f"the held-out harvest '{path}' is of another decomposition or model; make it with the same ones."
        )
    if held.artifact.fingerprint == harvest.artifact.fingerprint:
        raise RankOneError(
            f"the held-out harvest '{path}' is the one that is labelled; make one of other text."
        )
    return held


def _labelled(made: Outcome, out: Path, count: int = 20) -> LabelReply:
    rows: list[LabelRow] = []
    for name in made.by_firings()[:count]:
        best = made.best(name)
        scores = {**made.statistical[name].scores, **best.scores}
        rows.append(
            LabelRow(
                name=name,
                label=best.label,
                confidence=best.confidence,
                firing_auc=scores.get("firing_auc"),
                source=best.source,
            )
        )
    return LabelReply(
        out=out,
        statistical=len(made.statistical),
        by_model=len(made.model),
        capped=made.capped,
        unanswered=made.unanswered,
        rows=tuple(rows),
    )


VERBS = (
    Verb(
        "label",
        LabelRequest,
        LabelReply,
        label,
        writes=("out",),
        without=dict.fromkeys(("device", "dtype"), "the language model that labels runs on its server"),
    ),
)
