"""Everything a results directory holds, read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from rankone.core.artifact import read_json
from rankone.core.config import Config
from rankone.decomposition.evidence.records import Outline, read_outline
from rankone.edits.fitting.aim import Aim
from rankone.experiments.measure import Rollout
from rankone.experiments.names import method_order
from rankone.experiments.tables import (
    EditRow,
    PartRow,
    ResponseRow,
    RunRow,
    Tallies,
    read_table,
    smallest_budget,
    summarise_runs,
)
from rankone.sharing.fetching import local
from rankone.sharing.results import KIND as RESULTS


class Shown(Config):
    """The fit whose texts are shown and that is saved beside them as `edit`; alpha: None of a method without one scale."""

    method: str
    budget: int
    seed: int
    alpha: float | None = None
    edit: str


class JobSummary(Config):
    """`summary.json`: what the job was for, what was picked, and what came of it.

    base: cross-entropies of the unedited model on test text, nats per token. methods: as counted in `runs.parquet`.
    smallest_budget: the smallest sufficient one of each method.
    """

    aim: Aim
    base: dict[str, float]
    part: str
    label: str
    methods: Tallies
    smallest_budget: dict[str, int | None]
    provenance: Mapping[str, JsonValue]
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    shown: Shown | None = None


@dataclass(frozen=True)
class Results:
    """Everything a results directory holds, read and checked; optional parts are None where absent."""

    directory: Path
    summary: JobSummary
    runs: Sequence[RunRow]
    response: Sequence[ResponseRow]
    parts: Sequence[PartRow]
    rollouts: tuple[Rollout, ...]
    zero_token: Sequence[EditRow] | None
    evidence: Outline | None
    counted: Tallies

    @property
    def aim(self) -> Aim:
        """What was to be removed and what had to stay."""
        return self.summary.aim

    @property
    def smallest(self) -> dict[str, int | None]:
        """The smallest sufficient budget of each method, None where none was."""
        return smallest_budget(self.counted)

    @property
    def methods(self) -> list[str]:
        """The methods in reading order."""
        return method_order(list(self.counted))


def read_results(directory: Path | str) -> Results:
    """Read and check results: a folder, Hub id or address; RankOneError names a missing file, column or key."""
    directory = local(directory, RESULTS)
    path, texts = directory / "summary.json", directory / "rollouts.json"
    summary = JobSummary.checked(read_json(path), str(path))
    runs = cast("list[RunRow]", read_table(directory / "runs.parquet"))
    zero, evidence = directory / "zero_token.parquet", directory / "evidence.json"
    return Results(
        directory=directory,
        summary=summary,
        runs=runs,
        response=cast("list[ResponseRow]", read_table(directory / "response.parquet")),
        parts=cast("list[PartRow]", read_table(directory / "parts.parquet")),
        rollouts=tuple(Rollout.checked(row, f"{texts}[{i}]") for i, row in enumerate(read_json(texts, list))),
        zero_token=cast("list[EditRow]", read_table(zero)) if zero.exists() else None,
        evidence=read_outline(read_json(evidence), str(evidence)) if evidence.exists() else None,
        counted=summarise_runs(runs, summary.aim),
    )
