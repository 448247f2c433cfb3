"""What the verbs of transcoders are asked and answer; importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rankone.circuits.transcoders.records import Alike, Judged
from rankone.core.fields import Domains, Names, Positional, Reads, Request, Seed
from rankone.recipes import Recipe
from rankone.render.columns import Column
from rankone.render.reply import Reply
from rankone.render.tables import Table

# Unexplained share that still falls by more than this over the second half of training: too few tokens.
STILL_FALLING = 0.05


class TrainTranscodersRequest(Request):
    """Transcoders, by their recipe."""

    recipe: Recipe = Field(
        description="recipe of the transcoders: a YAML file, or one that ships, such as transcoders-mini"
    )
    out: Path = Field(description="where to write; must not exist")
    run: Path | None = Field(None, description="run directory; default OUT.run")
    domains: Annotated[Names, Domains()] = Field((), description="domains of the text; default all")


class TrainedRow(Reply):
    """A trained transcoder: share of the MLPs' outputs left unexplained at half and at the end, share of dead latents."""

    name: str
    unexplained_at_half: float
    unexplained: float
    dead: float

    @property
    def still_falling(self) -> bool:
        """Whether the second half of training still took off more than a twentieth."""
        return self.unexplained < (1 - STILL_FALLING) * self.unexplained_at_half


class TrainTranscodersReply(Reply):
    """Transcoders that were trained. tokens: seen; text: of the text they are from, before any was read again."""

    out: Path
    tokens: int
    text: int
    rows: tuple[TrainedRow, ...]

    def tables(self) -> Sequence[Table]:
        """One row per transcoder."""
        columns = [
            Column("transcoder", key=True),
            Column("half-way", ".3f"),
            Column("unexplained", ".3f", priority=3),
            Column("dead", ".1%", priority=2),
            Column("still falling"),
        ]
        rows = [[r.name, r.unexplained_at_half, r.unexplained, r.dead, r.still_falling] for r in self.rows]
        note = "share of the MLPs' outputs left unexplained, mean over layers, on training batches"
        return (Table.of("Transcoders", columns, rows, note),)

    def lines(self) -> Sequence[str]:
        """How much text there was, and where they are."""
        turns = self.tokens / max(1, self.text)
        again = f", read {turns:.1f} times" if turns > 1.01 else ""
        return (
            f"{self.tokens:,} tokens of training from {self.text:,} of text{again}",
            f"saved in {self.out}",
        )


class CompareTranscodersRequest(Request):
    """Saved transcoders, and the text that they are judged on beside neurons and a decomposition."""

    transcoders: Annotated[Path, Positional(), Reads("transcoders")] = Field(description="saved transcoders")
    domains: Annotated[Names, Domains()] = Field((), description="domains of the text; default all")
    tokens: int = Field(16_384, gt=0, description="test tokens, equal shares of the domains")
    neurons: tuple[int, ...] = Field(
        (8, 32, 128), description="neurons kept per token, for the line of neurons"
    )
    levels: tuple[float, ...] = Field(
        (0.0, 0.1, 0.5), description="causal importance above which a decomposition's parts are on"
    )
    jacobians: int = Field(
        8, ge=0, description="tokens per layer whose Jacobians are compared; 0 leaves it out"
    )
    attack: int = Field(
        20,
        ge=0,
        description="PGD steps of the adversary that turns a decomposition's unimportant parts on; 0 leaves it out",
    )
    seed: Seed = Field(0, description="order of the text, random masks, the adversary's start")
    out: Path | None = Field(None, description="also write everything as JSON; must not exist")


class CompareTranscodersReply(Reply):
    """What replacing the MLPs costs by each way, and how alike the transcoders' latents are. target: cross-entropy of the
    model itself, nats per token."""

    tokens: int
    batch: int
    target: float
    rows: tuple[Judged, ...]
    alike: tuple[Alike, ...]
    out: Path | None = None

    def tables(self) -> Sequence[Table]:
        """Costs, then how alike latents are."""
        columns = [
            Column("in place of the MLPs", key=True),
            Column("cascading", "+.3f", priority=9),
            Column("parallel", "+.3f", priority=8),
            Column("single", "+.3f", priority=7),
            Column("unexplained", ".3f", priority=4),
            Column("per matrix", ".1f", priority=3),
            Column("per output", ".1f", priority=6),
            Column("numbers", ",.0f", priority=5),
            Column("dead", ".1%", priority=1),
            Column("Jacobian", ".2f", priority=2),
            Column("AUC", ".2f", priority=5),
        ]
        rows = [
            [
                *(r.name, r.cascading, r.parallel, r.single, r.unexplained),
                *(r.per_module, r.per_output, r.parameters, r.dead, r.jacobian, r.firing_auc),
            ]
            for r in self.rows
        ]
        note = (
            f"rise of cross-entropy over {self.target:.3f}, nats per token, {self.tokens:,} test tokens: all replaced, "
            "errors running on; all, from clean inputs; one at a time. Then what is active per token: units of a "
            "dictionary or matrix, units that an MLP's output is made of, numbers of all layers; under random masks and "
            "PGD, where unimportant parts are on by some amount, those of importance above 0. AUC: how well token and "
            "domain, counted on training text, tell where a unit is on; chance .5"
        )
        tables = [Table.of("Replacing the MLPs", columns, rows, note)]
        if self.alike:
            names = [Column("transcoder", key=True), Column("beside", key=True)]
            sizes = [Column(c, ".3f", priority=3) for c in ("MMCS", "matched", "chance")]
            alike = [[a.first, a.second, a.mmcs, a.matched, a.chance, a.split] for a in self.alike]
            about = (
                "|cosine| of what latents write, mean over layers: of each with its nearest (MMCS), one to one (matched), "
                "with random directions (chance); split: with more than one above .5"
            )
            tables.append(Table.of("How alike", [*names, *sizes, Column("split", ".1%")], alike, about))
        return tuple(tables)
