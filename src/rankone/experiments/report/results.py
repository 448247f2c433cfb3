"""Everything a results directory holds, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankone.core.artifact import read_json
from rankone.core.errors import RankOneError
from rankone.decomposition.evidence.records import Outline, read_outline
from rankone.experiments.names import method_order
from rankone.experiments.tables import Summary, read_table, smallest_budget, summarise_runs

_KEYS = ("chance", "forget", "retain", "component", "label", "base", "methods")


@dataclass(frozen=True)
class Results:
    """Everything a results directory holds, read and checked; optional parts are None where absent."""

    directory: Path
    summary: dict[str, Any]
    runs: list[dict[str, Any]]
    response: list[dict[str, Any]]
    components: list[dict[str, Any]]
    rollouts: list[dict[str, Any]]
    zero_token: list[dict[str, Any]] | None
    evidence: Outline | None
    counted: Summary

    @property
    def chance(self) -> float:
        """ln V, nats per token."""
        return float(self.summary["chance"])

    @property
    def forget(self) -> str:
        """The domain to be removed."""
        return self.summary["forget"]

    @property
    def retain(self) -> str:
        """The domain that must stay as it is."""
        return self.summary["retain"]

    @property
    def smallest(self) -> dict[str, int | None]:
        """The smallest sufficient budget of each method, None where none was."""
        return smallest_budget(self.counted)

    @property
    def methods(self) -> list[str]:
        """The methods in reading order."""
        return method_order(list(self.counted))


def read_results(directory: Path | str) -> Results:
    """Read and check a results directory; RankOneError names a missing file, column or key."""
    directory = Path(directory)
    summary = _with_keys(directory / "summary.json", _KEYS)
    runs = read_table(directory / "runs.parquet")
    zero, evidence = directory / "zero_token.parquet", directory / "evidence.json"
    return Results(
        directory=directory,
        summary=summary,
        runs=runs,
        response=read_table(directory / "response.parquet"),
        components=read_table(directory / "components.parquet"),
        rollouts=_rollouts(directory / "rollouts.json"),
        zero_token=read_table(zero) if zero.exists() else None,
        evidence=read_outline(read_json(evidence), str(evidence)) if evidence.exists() else None,
        counted=summarise_runs(runs, float(summary["chance"]), summary["forget"], summary["retain"]),
    )


def _with_keys(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    value = read_json(path)
    for key in keys:
        if key not in value:
            raise RankOneError(f"'{path}' lacks the key '{key}'. Write it again with it.")
    return value


def _rollouts(path: Path) -> list[dict[str, Any]]:
    rows: list[Any] = read_json(path, list)
    for i, row in enumerate(rows):
        for key in ("prompt", "domain", "before", "after"):
            if not isinstance(row, dict) or key not in row:
                raise RankOneError(f"'{path}' entry {i} lacks the key '{key}'. Write it again with it.")
    return rows
