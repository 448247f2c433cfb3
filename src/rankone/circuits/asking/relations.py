"""What is asked of pairs of parts, on attention scores and over text, and what is answered; importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from rankone.circuits.records import Rule
from rankone.core.fields import Domains, Layer, Names, PartNames, Positional, Request
from rankone.render.columns import TOKEN, Column
from rankone.render.reply import Reply
from rankone.render.tables import Table


class QkRequest(Request):
    """A layer, and a prompt or text."""

    layer: Annotated[int, Positional(), Layer()] = Field(
        ge=0, description="layer whose attention is looked into"
    )
    prompt: str | None = Field(None, description="text whose last position looks back; default over text")
    domains: Annotated[Names, Domains()] = Field((), description="over text: its domains; default all")
    tokens: int = Field(2000, gt=0, description="over text: validation tokens per domain, for the signs")
    distances: int = Field(8, gt=0, description="over text: number of distances, from 0 on")
    top: int = Field(12, gt=0, description="pairs to show")
    out: Path | None = Field(None, description="also write the pairs as JSON; must not exist")

    @model_validator(mode="after")
    def _prompt_or_text(self) -> Self:
        if self.prompt is not None:
            for over_text in self.changed("domains", "tokens", "distances"):
                raise ValueError(
                    f"--prompt shows one case, {over_text} what holds over text: give one of them"
                )
        return self


class QkRow(Reply):
    """One pair. where: the distance in tokens, or on a prompt the key's position and token; value: in units of its
    head's root mean square, or of the score before 1/√d, less its mean over keys."""

    query: str
    key: str
    head_number: int
    where: int
    token: str | None
    value: float


class QkReply(Reply):
    """The strongest pairs of query and key parts of a layer."""

    layer: int
    heads: int
    prompt: str | None
    rows: tuple[QkRow, ...]
    explained: float | None
    out: Path | None = None

    def tables(self) -> Sequence[Table]:
        """One row per pair."""
        place = Column("distance") if self.prompt is None else Column("key at")
        token = [] if self.prompt is None else [Column("token", TOKEN)]
        columns = [
            Column("query part", key=True),
            Column("key part", priority=4),
            Column("head", priority=3),
            place,
            *token,
        ]
        columns.append(Column("size" if self.prompt is None else "score", "+.2f", priority=3))
        rows = [
            [r.query, r.key, r.head_number, r.where, *([] if self.prompt is None else [r.token]), r.value]
            for r in self.rows
        ]
        what = (
            "size: with its sign, over the root mean square of all pairs and distances of the head"
            if self.prompt is None
            else "share of q·k before 1/√d, less its mean over keys (softmax does not see that)"
        )
        return (Table.of(f"Who makes layer {self.layer} look where", columns, rows, what),)

    def lines(self) -> Sequence[str]:
        """How much of the scores the pairs are."""
        if self.explained is None:
            return (
                "Over text: pairs that are never important together may still stand here; --prompt shows one case.",
            )
        return (
            f"Pairs of parts make {self.explained:.0%} of the contrast between keys; biases and remainders make the rest.",
        )


class AttributionsRequest(Request):
    """Parts whose sources are wanted, and the text to look at."""

    parts: Annotated[Names, Positional(), PartNames()] = Field(min_length=1, description="parts to explain")
    domains: Annotated[Names, Domains()] = Field((), description="domains; default all of the text")
    tokens: int = Field(320, gt=0, description="validation tokens per domain")
    length: int = Field(32, gt=1, description="tokens of a row")
    rule: Rule = Field(
        "frozen", description="edges shown: frozen (shares of the value) or grad (local effects)"
    )
    top: int = Field(12, gt=0, description="sources to show for each part")
    out: Path | None = Field(None, description="also write all sums as JSON; must not exist")


class AttributionRow(Reply):
    """One source of one part. values: by domain, Σ edges · g over Σ g · RMS of the part's activation."""

    part: str
    source: str
    values: dict[str, float]


class AttributionsReply(Reply):
    """The strongest sources of parts, by domain."""

    rule: Rule
    tokens: dict[str, int]
    rows: tuple[AttributionRow, ...]
    out: Path | None = None

    def tables(self) -> Sequence[Table]:
        """One table per part."""
        made = []
        for part in dict.fromkeys(row.part for row in self.rows):
            rows = [[r.source, *r.values.values()] for r in self.rows if r.part == part]
            columns = [Column("source", key=True), *(Column(d, "+.3f") for d in self.tokens)]
            caption = f"Σ edges · g over Σ g · RMS(a) of {part}"
            made.append(Table.of(f"What feeds {part}, by the {self.rule} rule", columns, rows, caption))
        return made

    def lines(self) -> Sequence[str]:
        """On how much text."""
        said = ", ".join(f"{domain} {n:,}" for domain, n in self.tokens.items())
        return (
            f"tokens: {said}. Sums of edges over text: what a source adds on average, no proof that it matters.",
        )
