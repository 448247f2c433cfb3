"""Verbs that change a model and ship the change: edit, export, generate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from rankone.answers.requests import Answer, AnswerRequest
from rankone.core.errors import RankOneError
from rankone.core.fields import PartNames, Positional, Reads, Request, ScalesByName
from rankone.harvest.reading.names import QUERY
from rankone.metrics.damage_record import DomainDamage, interval_said, measured, scored
from rankone.opening import Opening
from rankone.render.columns import Column
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.text.corpus import HeldOut
from rankone.verbs.verb import Opens, Verb

if TYPE_CHECKING:
    from rankone.edits.verification import Verification


class EditRequest(Request):
    """Scales set by hand."""

    scales: Annotated[ScalesByName, Positional(), PartNames()] = Field(
        min_length=1,
        description="NAME=ALPHA (h.3.mlp.down_proj:270=-16); cNUMBER (--clusters) and label:WORDS (--harvest, --labels) "
        "stand for parts; several at once; 1 leaves a part, 0 deletes it",
    )
    split: HeldOut = Field("test", description="text to measure on")
    tokens: int = Field(800, gt=0, description="tokens per domain to measure on")
    out: Path | None = Field(None, description="save the edit here; must not exist")


class EditReply(Reply):
    """An edit by its scales, and what it changed."""

    scales: dict[str, float]
    parts: dict[str, int] = Field(description="how many parts each name stands for")
    split: HeldOut
    chance: float
    domains: tuple[DomainDamage, ...]
    saved: Path | None = None

    def tables(self) -> Sequence[Table]:
        """The scales, then the change per domain."""
        several = any(count > 1 for count in self.parts.values())
        columns = ["part", Column("α", "+.3f"), *["parts"] * several]
        scales = Table.of(
            "Scales",
            columns,
            [[name, alpha, *[self.parts[name]] * several] for name, alpha in self.scales.items()],
        )
        rows = [[d.domain, d.base, d.edited, d.shown] for d in self.domains]
        measured_on = scored(self.domains, self.split)
        intervals = interval_said(self.domains)
        caption = f"chance {self.chance:.3f}; nats per token on {measured_on}; rise: {intervals}"
        return scales, Table.of("What changed", ["domain", "CE before", "CE after", "rise"], rows, caption)

    def lines(self) -> Sequence[str]:
        """Where the edit was saved."""
        return () if self.saved is None else (f"saved {self.saved}",)


def edit(opening: Opening, request: EditRequest) -> EditReply:
    """Set the scale of parts by hand, show what changes on held-out text of every domain, and save the edit."""
    from rankone.edits.scales import scale_edit
    from rankone.experiments.measure import edit_damage

    workspace, names = opening.workspace, request.scales
    members = members_of(opening, list(names))
    made = scale_edit(opening.book, scales_of_parts(members, names))
    text = workspace.text(workspace.corpus.domains(), request.split, request.tokens)
    damages = edit_damage(workspace.model, made, text)
    domains = tuple(DomainDamage.of(domain, damage) for domain, damage in damages.items())
    if request.out is not None:
        about = {"scales": dict(names), **measured(domains)}
        made.bind(workspace.model).save_pretrained(request.out, about)
    return EditReply(
        scales=dict(names),
        parts={name: len(each) for name, each in members.items()},
        split=request.split,
        chance=workspace.chance,
        domains=domains,
        saved=request.out,
    )


def scales_of_parts(members: Mapping[str, Sequence[str]], scales: Mapping[str, float]) -> dict[str, float]:
    """The scale of every part that the names stand for; RankOneError for a part given twice."""
    made: dict[str, float] = {}
    for name, parts in members.items():
        for part in parts:
            if part in made:
                raise RankOneError(f"'{part}' is given twice: one scale each.")
            made[part] = scales[name]
    return made


def members_of(opening: Opening, names: Sequence[str]) -> dict[str, list[str]]:
    """Name → the parts it stands for: a part itself, a component its members, label:WORDS what is so labelled."""
    from rankone.harvest.reading.names import expand

    query = partial(_labelled, opening) if opening.options.labels is not None else None
    return expand(list(names), opening.checked_clusters, opening.book.locate, query)


def unnamed(names: Sequence[str]) -> dict[Opens, str]:
    """What groups of parts are looked up in and none of the names calls for, as a verb's `unused`."""
    if any(name.startswith(QUERY) for name in names):
        return {}
    said = "looked up in it, and none is named. Leave it out."
    by_label = f"only label:WORDS is {said}"
    unused: dict[Opens, str] = {"harvest": by_label, "labels": by_label}
    if all(":" in name for name in names):
        unused["clusters"] = f"only cNUMBER and label:WORDS are {said}"
    return unused


def _edit_unused(opening: Opening, request: EditRequest) -> dict[Opens, str]:  # noqa: ARG001
    return unnamed(list(request.scales))


def _labelled(opening: Opening, words: str) -> list[str]:
    from rankone.labels.by_words import labelled

    opening.require_harvest("a query of labels").require_origin(opening.decomposition, opening.model)
    return labelled(opening.require_labels("a query of labels"), words)


class ExportRequest(Request):
    """A saved edit and what to make of it."""

    edit: Annotated[Path, Positional(), Reads("edit")] = Field(description="saved edit")
    out: Path = Field(description="where to write; must not exist")
    as_: Literal["checkpoint", "adapter", "stock"] = Field(
        "checkpoint",
        description="a plain checkpoint, a PEFT LoRA, or mini as a checkpoint in a stock architecture",
    )
    dtype: Literal["float32", "bfloat16"] | None = Field(
        None, description="numbers of a checkpoint's weights; default float32"
    )

    @model_validator(mode="after")
    def _numbers_of_a_checkpoint(self) -> Self:
        if self.dtype is not None and self.as_ == "adapter":
            raise RankOneError(
                "--dtype is for checkpoints: an adapter holds float32. Leave it out, or write --as checkpoint."
            )
        return self


class ExportReply(Reply):
    """What was written, and how it compares after reload with the edited model in memory."""

    out: Path
    figures: dict[str, str | int | float]
    warnings: tuple[str, ...] = ()
    served: str = Field("", description="of an adapter, whether vLLM serves it by its rules")

    def lines(self) -> Sequence[str]:
        """What was not verified, or hardly survived; who serves it."""
        return [*self.warnings, *([self.served] if self.served else [])]


def export(opening: Opening, request: ExportRequest) -> ExportReply:
    """Write an edited model as a plain checkpoint, or the edit as a PEFT LoRA adapter, and verify it after reload."""
    import torch

    from rankone.edits.export import export_adapter, export_checkpoint
    from rankone.edits.lowrank import LowRankEdit

    loaded = LowRankEdit.from_pretrained(request.edit).check_base(opening.model)
    if request.as_ == "adapter":
        verified = export_adapter(
            opening.model, loaded, request.out, opening.options.model, tokenizer=opening.tokenizer
        )
    else:
        dtype = getattr(torch, request.dtype or "float32")
        stock = request.as_ == "stock"
        verified = export_checkpoint(
            opening.model, opening.tokenizer, loaded, request.out, dtype, stock=stock
        )
    figures = {k: v for k, v in verified.model_dump().items() if isinstance(v, int | float | str)}
    served = verified.vllm.said if verified.vllm is not None else ""
    warnings = tuple(verified.warnings)
    reply = ExportReply(out=request.out, figures=figures, warnings=warnings, served=served)
    return reply.showing(_verification(request.out, verified))


def _verification(out: Path, verified: Verification) -> Table:
    """Every figure of a verification, and what it says."""
    said = {name: field.description for name, field in type(verified).model_fields.items()}
    return Table.of(
        f"{out}: reloaded in a fresh process and compared",
        [Column("figure", key=True), Column("value", priority=2), "what it is"],
        [[k, v, said[k]] for k, v in verified if isinstance(v, str | int | float)],
    )


class GenerateRequest(AnswerRequest):
    """A prompt to continue, or to answer, with an edit or without."""

    edit: Annotated[Path | None, Reads("edit")] = Field(None, description="saved edit to apply first")


def generate(opening: Opening, request: GenerateRequest) -> Answer:
    """Continue a prompt greedily, with an edit applied if one is given; --chat asks in the model's chat template."""
    from rankone.answers.answer import answer
    from rankone.edits.lowrank import LowRankEdit

    if request.edit is None:
        return answer(opening.bare, request)
    with LowRankEdit.from_pretrained(request.edit).check_base(opening.model).applied(opening.model):
        return answer(opening.bare, request)


_PARTS = ("model", "decomposition", "parts", "clusters", "harvest", "labels", "text", "device", "dtype")

VERBS = (
    Verb(
        "edit",
        EditRequest,
        EditReply,
        edit,
        _PARTS,
        writes=("out",),
        unused=_edit_unused,
        cost="seconds",
    ),
    Verb("export", ExportRequest, ExportReply, export, ("model", "device"), writes=("out",)),
    Verb("generate", GenerateRequest, Answer, generate, ("model", "device", "dtype"), cost="seconds"),
)
