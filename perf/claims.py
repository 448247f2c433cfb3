"""The published claims and what decides them, nine seeds to their plateau: tables of docs/bench.md from what `bench` made.

    python -m perf.claims --keep runs/claims    # of `bench recipes/german.yaml --preset claims` → results/claims/
    python -m perf.claims                       # the tables, into docs/bench.md

Kept: `summary.parquet` (means over seeds with their intervals), `verdicts.json`, the chosen rates, which part was picked,
every single run (`fits.parquet`, and `bench.parquet` but for its passages), and what the figure of successes at matched
removal draws; docs/claims.svg is drawn from that.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from perf.languages import count_said, keep_result, row_said, rows_of
from perf.pages import write_table

from rankone.core.files import write_json, write_text
from rankone.edits.fitting.aim import Aim
from rankone.experiments.bench.page import STAGES
from rankone.experiments.figures import success_by_tokens
from rankone.experiments.names import method_name, method_order
from rankone.experiments.tables import Share
from rankone.render.theme import svg
from rankone.text.domains import domain_name

KEPT = Path(__file__).parent / "results" / "claims"
PAGE = Path(__file__).parents[1] / "docs" / "bench.md"
FIGURE = PAGE.with_name("claims.svg")


def keep(folder: Path) -> None:
    """What is kept of a benchmark, its verdicts and rates beside it."""
    keep_result(folder, KEPT)
    for name in ("verdicts.json", "fits.parquet"):
        shutil.copyfile(folder / name, KEPT / name)
    runs = pq.read_table(folder / "bench.parquet")
    pq.write_table(
        runs.drop_columns([name for name in runs.column_names if name.startswith("passage_")]),
        KEPT / "bench.parquet",
    )
    shutil.copyfile(folder / "figures" / "success-english-sized.csv", KEPT / "success.csv")
    record = json.loads((folder / "bench.json").read_text("utf8"))
    write_json(KEPT / "rates.json", {key: record[key] for key in ("rates", "tuning_runs")})


def verdicts_table(folder: Path) -> str:
    """A row a claim: what the fits say as they came, and at matched removal."""
    fitted, sized = json.loads((folder / "verdicts.json").read_text("utf8")).values()
    by_claim = [
        {v["claim"]: f"**{v['verdict']}**: {v['figures']}" for v in verdicts} for verdicts in (fitted, sized)
    ]
    lines = ["| claim | as fitted | at matched removal |", "|---|---|---|"]
    rows = ([claim, said, by_claim[1].get(claim, "")] for claim, said in by_claim[0].items())
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def methods_table(folder: Path, stage: str) -> str:
    """A row a method: at every budget the seeds that succeed, the target's rise and the most of another trained domain."""
    budgets = json.loads((folder / "about.json").read_text("utf8"))["config"]["budgets"]
    rows = {budget: rows_of(folder, stage, budget) for budget in budgets}
    ran = method_order(list(dict.fromkeys(method for at in rows.values() for method in at)))
    lines = ["| " + " | ".join([f"method, {STAGES[stage]}", *(f"{b:,} tokens" for b in budgets)]) + " |"]
    lines.append("|" + "---|" * (1 + len(budgets)))
    for method in ran:
        cells = [_cell(rows[budget].get(method)) for budget in budgets]
        lines.append("| " + " | ".join([f"`{method}`: {method_name(method)}", *cells]) + " |")
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    worst = row["worst"]
    return f"{count_said(row)}; {row_said(row, 2)}; {domain_name(worst['domain'])} {row_said(worst, 2)}"


def success_figure(folder: Path) -> str:
    """Seeds that succeed at matched removal by tokens, as SVG."""
    with (folder / "success.csv").open(newline="", encoding="utf8") as stream:
        rows = list(csv.DictReader(stream))
    places = [(row["method"], int(row["budget"])) for row in rows]
    shares = {
        at: Share(
            int(row["successes"]), int(row["seeds"]), float(row["success_low"]), float(row["success_high"])
        )
        for at, row in zip(places, rows, strict=True)
    }
    in_all = {at: int(row["tokens_in_all"]) for at, row in zip(places, rows, strict=True)}
    aim = Aim.checked(json.loads((folder / "about.json").read_text("utf8"))["aim"], str(folder))
    return svg(success_by_tokens(shares, aim, in_all), "claims")


def main() -> None:
    """Keep a benchmark that is named; then write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path)
    if (folder := parser.parse_args().keep) is not None:
        keep(folder)
    write_table(PAGE, "perf.claims", verdicts_table(KEPT))
    write_text(FIGURE, success_figure(KEPT))
    for stage in STAGES:
        write_table(PAGE, f"perf.claims {stage}", methods_table(KEPT, stage))


if __name__ == "__main__":
    main()
