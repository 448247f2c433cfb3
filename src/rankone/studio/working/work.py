"""What the worker does for each kind of job: a generator of events; between two of them a job can be called off."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import nullcontext, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue

from rankone.core.errors import RankOneError
from rankone.metrics.damage_record import DomainDamage, measured
from rankone.opening import Opening
from rankone.studio.views.requests import (
    GenerateRequest,
    GraphAsked,
    ImportanceRequest,
    InterveneAsked,
    PartRequest,
    PreviewRequest,
    PromptRequest,
    ResponseRequest,
    TextRequest,
    VerbRequest,
)
from rankone.studio.views.worker import (
    Cut,
    CutShort,
    Measured,
    MeasuredRow,
    ResponsePoint,
    Side,
    Sized,
    Subject,
)

if TYPE_CHECKING:
    from torch import Tensor

    from rankone.edits.lowrank import LowRankEdit

Event = dict[str, JsonValue]
# Scales of a part's response curve.
ALPHAS = (-24.0, -16.0, -8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)


class Work:
    """The jobs on one opening. close: ends what a job leaves in the model for the next of its kind."""

    def __init__(self, opening: Opening) -> None:
        from rankone.studio.working.dials import Dials

        self.opening, self._dials, self._dialled = opening, Dials(opening), False

    def do(self, kind: str, body: Mapping[str, JsonValue]) -> Generator[Event | None]:
        """The events of one job, None where it can be called off and tells nothing; RankOneError for what cannot be done."""
        jobs: dict[str, Callable[[Mapping[str, JsonValue]], Generator[Event | None]]] = {
            "preview": self._preview,
            "response": self._response,
            "generate": self._generate,
            "prompt": self._prompt,
            "importance": self._importance,
            "part": self._part,
            "text": self._text,
            "verb": self._verb,
            "graph": self._graph,
            "graph page": self._graph_page,
            "intervene": self._intervene,
            "export": self._export,
            "columns": self._columns,
            "warm": self._warm,
        }
        if kind in ("preview", "response", "warm"):
            self._dialled = True
        else:  # they take the model as it was loaded
            self._dials.close()
        yield from jobs[kind](body)

    def ahead(self) -> Iterator[None]:
        """What a dial would wait for, step by step while nothing is asked; only where there is a page or a dial."""
        with suppress(Exception):  # whatever it is, the dial that needs it tells it
            yield from self._dials.ahead() if self._dialled else ()

    def _warm(self, _: Mapping[str, JsonValue]) -> Generator[Event]:
        """Open the model and its parts, so that the first dial does not wait for them."""
        from rankone.studio.working.looking import judged

        model = self.opening.model
        parts = len(self.opening.decomposition.names()) if self.opening.decomposition_name else 0
        yield Subject(
            model=self.opening.options.model,
            parameters=sum(p.numel() for p in model.parameters()),
            parts=parts,
            chance=self.opening.bare.chance,
            domains=tuple(self.opening.corpus.domains()),
            device=str(self.opening.device),
            verdict=judged(self.opening),
        ).plain()

    def _preview(self, body: Mapping[str, JsonValue]) -> Generator[Event | None]:
        request = PreviewRequest.checked(body, "preview")
        yield Sized(chance=self.opening.bare.chance, size=self._size(request.scales)).plain()
        for row in self._dials.measure(request.scales):
            said = CutShort(cut=row) if isinstance(row, Cut) else row
            said = MeasuredRow(row=said) if isinstance(said, Measured) else said
            yield None if said is None else said.plain()

    def _damage(self, scales: Mapping[str, float]) -> Iterator[DomainDamage]:
        """What the dials show first, for the card of a saved edit."""
        rows = self._dials.measure(scales, None)
        return (row.damage for row in rows if isinstance(row, Measured))

    def _size(self, scales: Mapping[str, float]) -> float:
        """Σ |α − 1| ‖u‖ ‖v‖, the norms of the changes added up."""
        pairs = ((alpha, *self.opening.book.vectors(name)) for name, alpha in scales.items())
        return sum(abs(alpha - 1) * float(v.norm() * u.norm()) for alpha, v, u in pairs)

    def _response(self, body: Mapping[str, JsonValue]) -> Generator[Event | None]:
        from rankone.studio.working.dials import FIRST

        name = ResponseRequest.checked(body, "response").name
        for alpha in ALPHAS:
            rises, cut = dict[str, float](), tuple[str, ...]()
            for row in self._dials.measure({name: alpha}, None):
                if isinstance(row, Measured):
                    rises[row.damage.domain] = row.damage.rise
                elif isinstance(row, Cut):
                    cut = row.domains
                yield None
            ordered = {domain: rises[domain] for domain in self._dials.domains if domain in rises}
            yield ResponsePoint(alpha=alpha, rises=ordered, tokens=FIRST, cut=cut).plain()

    def _generate(self, body: Mapping[str, JsonValue]) -> Generator[Event]:
        from rankone.answers.answer import AnswerRequest, answer

        asked = GenerateRequest.checked(body, "generate")
        request = AnswerRequest(prompt=asked.prompt, tokens=asked.tokens, chat=asked.chat)
        edit = self._edit(asked.scales)
        sides: tuple[Literal["before", "after"], ...] = ("before", "after")
        for side in sides:
            with nullcontext() if side == "before" else edit.applied(self.opening.model):
                said = answer(self.opening.bare, request)
            yield Side(side=side, **vars(said)).model_dump(mode="json")

    def _edit(self, scales: Mapping[str, float]) -> LowRankEdit:
        from rankone.edits.scales import scale_edit

        return scale_edit(self.opening.book, {name: alpha for name, alpha in scales.items() if alpha != 1})

    def _prompt(self, body: Mapping[str, JsonValue]) -> Generator[Event]:
        from rankone.studio.working.looking import look_into

        yield look_into(self.opening, PromptRequest.checked(body, "prompt"), self._usual).plain()

    def _importance(self, body: Mapping[str, JsonValue]) -> Generator[Event]:
        from rankone.studio.working.looking import importances_at

        yield importances_at(self.opening, ImportanceRequest.checked(body, "importance")).plain()

    @cached_property
    def _usual(self) -> Tensor | None:
        from rankone.studio.working.looking import usual_importances

        return usual_importances(self.opening)

    def _part(self, body: Mapping[str, JsonValue]) -> Generator[Event]:
        from rankone.studio.working.looking import part_page

        yield part_page(self.opening, PartRequest.checked(body, "part").name).plain()

    def _text(self, body: Mapping[str, JsonValue]) -> Generator[Event]:
        from rankone.studio.working.looking import text_page

        yield text_page(self.opening, TextRequest.checked(body, "text")).plain()

    def _verb(self, body: Mapping[str, JsonValue]) -> Generator[Event]:
        from rankone.studio.offered import request_of
        from rankone.verbs.table import verb_named

        asked = VerbRequest.checked(body, "verb")
        verb = verb_named(asked.verb)
        reply = verb.ask(self.opening, request_of(verb, asked.request))
        yield {"reply": reply.model_dump(mode="json")}

    def _graph(self, body: Mapping[str, JsonValue]) -> Generator[Event]:
        from rankone.studio.working.graphing import graph_view

        asked = GraphAsked.checked(body["asked"], "graph")
        yield graph_view(self.opening, Path(str(body["place"])), asked).plain()

    def _graph_page(self, body: Mapping[str, JsonValue]) -> Generator[Event]:
        from rankone.studio.working.graphing import drawn

        asked = GraphAsked.checked(body["asked"], "graph")
        yield {"page": drawn(self.opening, Path(str(body["place"])), asked.rule, asked.nodes)}

    def _intervene(self, body: Mapping[str, JsonValue]) -> Generator[Event]:
        from rankone.studio.working.graphing import intervene

        asked = InterveneAsked.checked(body["asked"], "intervention")
        yield intervene(self.opening, Path(str(body["place"])), asked).model_dump(mode="json")

    def _export(self, body: Mapping[str, JsonValue]) -> Generator[Event]:
        """An edit as an artefact, an adapter or a checkpoint, by the exporter that the command line has."""
        from rankone.edits.export import export_adapter, export_checkpoint

        scales, out, kind = _scales(body), Path(str(body["out"])), str(body["as"])
        edit = self._edit(scales).bind(self.opening.model)
        if not edit.sites:
            raise RankOneError("every dial is at 1: there is nothing to export. Turn one first.")
        yield {"said": "writing and verifying in a process of its own"}
        if kind == "edit":
            yield {"said": "measuring what it does"}
            edit.save_pretrained(out, {"scales": dict(scales), **measured(self._damage(scales))})
            type(edit).from_pretrained(out).check_base(self.opening.model)
            yield {"out": str(out), "figures": {}, "warnings": []}
            return
        if kind == "adapter":
            model, tokenizer = self.opening.model, self.opening.tokenizer
            verified = export_adapter(model, edit, out, self.opening.options.model, tokenizer=tokenizer)
        else:
            verified = export_checkpoint(self.opening.model, self.opening.tokenizer, edit, out)
        plain = verified.model_dump(mode="json")
        figures: Event = {
            name: value for name, value in plain.items() if isinstance(value, int | float | str)
        }
        yield {"out": str(out), "figures": figures, "warnings": list(verified.warnings)}

    def _columns(self, body: Mapping[str, JsonValue]) -> Generator[Event]:
        """The list of parts from the harvest that was named, written where the server reads it."""
        from rankone.labels.on_demand import StatisticalLabels
        from rankone.studio.listed.columns import made, write_columns

        store = self.opening.require_harvest("the list of parts")
        labels = self.opening.labels or StatisticalLabels.of_all(store)
        write_columns(
            made(store, labels, self.opening.decomposition_artifact.fingerprint), Path(str(body["out"]))
        )
        yield {"out": str(body["out"])}


def _scales(body: Mapping[str, JsonValue]) -> dict[str, float]:
    return PreviewRequest.checked({"scales": body["scales"]}, "export").scales
