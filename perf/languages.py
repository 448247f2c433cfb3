"""One scalar beside its equal-parameter controls for several targets: docs/bench.md's table, from saved result tables.

    python -m perf.languages --keep runs/german-controls runs/french-controls …   # what `bench` made → results/languages/
    python -m perf.languages                                                      # the table, into docs/bench.md

Kept of each benchmark: its `summary.parquet` (means over seeds with their intervals) and which part was picked. The table
has the target's rise sized by the rule (every edit brought to the size that retained text allows), at the largest budget,
and of which controls the 95% interval over seeds and passages lies above or below the scalar's. Where they overlap no order
is said.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from perf.pages import markdown, write_table

from rankone.core.files import write_json
from rankone.experiments.bench.ledger import STAGES
from rankone.experiments.tables import Share
from rankone.render.values import spanned
from rankone.text.domains import domain_name, written_in

KEPT = Path(__file__).parent / "results" / "languages"
PAGE = Path(__file__).parents[1] / "docs" / "bench.md"
METHODS = {
    "scalar": "the pick",
    "neuron": "its raw neuron or channel",
    "best_neuron": "best neuron",
    "best_channel": "best channel",
    "contrast": "contrast",
    "discriminant": "discriminant",
    "random": "random",
}
Row = dict[str, Any]


def keep(folders: Sequence[Path]) -> None:
    """Copy the summaries of some benchmarks here."""
    for folder in folders:
        config = json.loads((folder / "bench.json").read_text("utf8"))["config"]
        keep_result(folder, KEPT / "-not-".join([config["forget"], *_forms(config["forget"], config)]))


def keep_result(folder: Path, out: Path) -> None:
    """What is kept of a benchmark: its summary, what was picked, and what it ran with."""
    record = json.loads((folder / "bench.json").read_text("utf8"))
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "summary.parquet", out / "summary.parquet")
    kept = ("trained", "budgets", "seeds", "weights", "retain", "fit", "tolerance", "test_tokens")
    said = {"forget": record["config"]["forget"], "part": record["part"], "label": record["label"]}
    said["aim"] = record["aim"]
    said["config"] = {key: record["config"][key] for key in kept}
    said |= {key: record["provenance"].get(key) for key in ("versions", "git_revision")}
    write_json(out / "about.json", said)


def _forms(forget: str, config: Row) -> list[str]:
    """Retained domains that are in the language of what is removed, in lower case or as it is printed."""
    (retain,) = config["retain"].values()
    return [domain for domain in retain if written_in(domain) == written_in(forget)]


def stages_of(folder: Path) -> dict[str, str]:
    """The stages that a kept benchmark has, with their words."""
    there = set(pq.ParquetFile(folder / "summary.parquet").read(["stage"])["stage"].to_pylist())
    return {stage: words for stage, words in STAGES.items() if stage in there}


def rows_of(folder: Path, stage: str = "sized", budget: int | None = None) -> dict[str, Row]:
    """The target's row of every method at a budget (the largest), under `worst` the largest rise of another trained domain.

    stage: one of those in the ledger, by name.
    """
    config = json.loads((folder / "about.json").read_text("utf8"))["config"]
    budget = budget or max(config["budgets"])
    trained = config["trained"]
    found: dict[str, Row] = {}
    summary = pq.ParquetFile(folder / "summary.parquet").read().to_pylist()
    rows = [r for r in summary if (r["budget"], r["stage"]) == (budget, stage)]
    for row in (r for r in rows if r["role"] == "forget"):
        others = [
            r
            for r in rows
            if r["method"] == row["method"] and r["domain"] in trained and r["role"] != "forget"
        ]
        found[row["method"]] = {**row, "worst": max(others, key=lambda r: r["rise"])}
    return found


def order(rows: dict[str, Row], names: Mapping[str, str] = METHODS) -> str:
    """Which of the others lie above and below the scalar, where intervals do not overlap. names: by method, in order."""
    own = rows["scalar"]
    others = [m for m in names if m != "scalar" and m in rows]
    above = [m for m in others if rows[m]["low"] > own["high"]]
    below = [m for m in others if rows[m]["high"] < own["low"]]
    level = [m for m in others if m not in (*above, *below)]
    groups = (("above it", above), ("below it", below), ("intervals overlap", level))
    return "; ".join(f"{where}: {', '.join(names[m] for m in group)}" for where, group in groups if group)


def table() -> str:
    """The table in Markdown, a row a target."""
    head = [
        "removed (part)",
        "to chance",
        *METHODS.values(),
        "most elsewhere",
        "where 95% intervals do not overlap",
    ]
    lines: list[list[str]] = []
    for folder in sorted(path for path in KEPT.iterdir() if path.is_dir()):
        about = json.loads((folder / "about.json").read_text("utf8"))
        rows = rows_of(folder)
        own = rows["scalar"]
        room = about["aim"]["chance"] - (own["ce"] - own["rise"])
        cells = [row_said(rows[method], 2) if method in rows else "" for method in METHODS]
        worst = max((rows[method]["worst"] for method in METHODS if method in rows), key=lambda r: r["rise"])
        most = f"{domain_name(worst['domain'])} {row_said(worst, 3)}, {METHODS[worst['method']]}"
        target = ", not ".join(map(domain_name, [about["forget"], *_forms(about["forget"], about["config"])]))
        name = f"{target} (`{about['part']}`)"
        lines.append([name, f"{room:+.2f}", *cells, most, order(rows)])
    return markdown(head, lines)


def row_said(row: Row, digits: int) -> str:
    """A row's rise with its interval."""
    return spanned(row["rise"], row["low"], row["high"], digits)


def count_said(row: Row) -> str:
    """How many seeds succeed, with the interval of their share."""
    return Share(row["successes"], row["seeds"], row["success_low"], row["success_high"]).said


def main() -> None:
    """Keep benchmarks that are named; then write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path, nargs="*", default=[])
    keep(parser.parse_args().keep)
    write_table(PAGE, "perf.languages", table())


if __name__ == "__main__":
    main()
