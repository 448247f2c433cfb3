"""The published claims, and the published grid: tables and figures of docs/bench.md from what `bench` made.

    python -m perf.claims --keep runs/claims       # of `bench recipes/german.yaml --preset claims` → results/claims/
    python -m perf.claims --keep runs/published    # of its preset `published` → results/published/
    python -m perf.claims                          # the tables, into docs/bench.md

Kept: `summary.parquet` (means over seeds with their intervals), `verdicts.json`, the chosen rates, which part was picked,
every single run (`fits.parquet`, and `bench.parquet` but for its passages), and what the figure of successes draws;
docs/claims.svg and docs/published.svg are drawn from that. A benchmark whose fits were not brought to size is the grid.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet as pq
from perf.languages import count_said, keep_result, row_said, rows_of, stages_of
from perf.pages import markdown, write_table

from rankone.core.files import write_json, write_text
from rankone.edits.fitting.aim import Aim
from rankone.experiments.bench.ledger import STAGES
from rankone.experiments.figures import success_by_tokens
from rankone.experiments.names import method_name, method_order
from rankone.experiments.tables import Share
from rankone.render.theme import svg
from rankone.text.domains import domain_name

KEPT = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "bench.md"
CLAIMS, GRID = "claims", "published"


def keep(folder: Path) -> None:
    """What is kept of a benchmark, its verdicts and rates beside it."""
    record = json.loads((folder / "bench.json").read_text("utf8"))
    kept = KEPT / (CLAIMS if record["config"]["sized"] else GRID)
    keep_result(folder, kept)
    for name in ("verdicts.json", "fits.parquet"):
        shutil.copyfile(folder / name, kept / name)
    runs = pq.read_table(folder / "bench.parquet")
    pq.write_table(
        runs.drop_columns([name for name in runs.column_names if name.startswith("passage_")]),
        kept / "bench.parquet",
    )
    *_, stage = stages_of(kept)
    shutil.copyfile(folder / "figures" / f"success-english-{stage}.csv", kept / "success.csv")
    write_json(kept / "rates.json", {key: record[key] for key in ("rates", "tuning_runs")})


def verdicts_table(folder: Path) -> str:
    """A row a claim: what the fits say as they came, and at every size that they were brought to."""
    judged = json.loads((folder / "verdicts.json").read_text("utf8"))
    by_stage = [{v["claim"]: f"**{v['verdict']}**: {v['figures']}" for v in each} for each in judged.values()]
    head = ["claim", *(key.partition(", ")[2] or STAGES["fitted"] for key in judged)]
    rows = ([claim, *(said.get(claim, "") for said in by_stage)] for claim in by_stage[0])
    return markdown(head, rows)


def methods_table(folder: Path, stage: str) -> str:
    """Of every method and budget the seeds that succeed, the target's rise and the most of another trained domain.

    A row a method; a row a budget where there are more budgets than methods.
    """
    budgets = json.loads((folder / "about.json").read_text("utf8"))["config"]["budgets"]
    at = {budget: rows_of(folder, stage, budget) for budget in budgets}
    ran = method_order(list(dict.fromkeys(method for rows in at.values() for method in rows)))
    titles = {method: f"`{method}`: {method_name(method)}" for method in ran}
    if len(budgets) > len(ran):
        rows = ([f"{b:,}", *(_cell(at[b].get(method)) for method in ran)] for b in budgets)
        return markdown([f"tokens, {STAGES[stage]}", *titles.values()], rows)
    rows = ([titles[method], *(_cell(at[b].get(method)) for b in budgets)] for method in ran)
    return markdown([f"method, {STAGES[stage]}", *(f"{b:,} tokens" for b in budgets)], rows)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    worst = row["worst"]
    return f"{count_said(row)}; {row_said(row, 2)}; {domain_name(worst['domain'])} {row_said(worst, 2)}"


def cost_table(folder: Path) -> str:
    """A row a method: its runs, the steps and seconds of the median one, and their hours of one worker in all."""
    runs = pq.ParquetFile(folder / "fits.parquet").read(["method", "steps", "seconds"]).to_pylist()
    by = {m: [r for r in runs if r["method"] == m] for m in method_order(list({r["method"] for r in runs}))}
    rows = [[method_name(method), *_cost(each)] for method, each in by.items()]
    head = ["method", "runs", "steps, median", "seconds, median", "worker hours"]
    return markdown(head, [*rows, ["all", *_cost(runs)]])


def _cost(runs: Sequence[dict[str, Any]]) -> tuple[str, str, str, str]:
    steps, seconds = (median(run[what] for run in runs) for what in ("steps", "seconds"))
    hours = sum(run["seconds"] for run in runs) / 3600
    return f"{len(runs):,}", f"{steps:,.0f}", f"{seconds:.1f}", f"{hours:.2f}"


def success_image(folder: Path) -> str:
    """The figure in Markdown; its words name the size that it is drawn at."""
    *_, stage = stages_of(folder)
    by = "by the German tokens that fits saw and by all that were spent"
    return f"![Share of seeds that succeed, {STAGES[stage]}, {by}]({folder.name}.svg)"


def success_figure(folder: Path) -> str:
    """Seeds that succeed by tokens, at the last size that fits were brought to, as SVG."""
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
    return svg(success_by_tokens(shares, aim, in_all), folder.name)


def main() -> None:
    """Keep a benchmark that is named; then write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path)
    if (folder := parser.parse_args().keep) is not None:
        keep(folder)
    for name in (CLAIMS, GRID):
        kept = KEPT / name
        if not kept.is_dir():
            continue
        mark = "perf.claims" if name == CLAIMS else f"perf.claims {GRID}"
        write_table(PAGE, mark, verdicts_table(kept))
        write_table(PAGE, f"{mark} cost", cost_table(kept))
        write_table(PAGE, f"{mark} figure", success_image(kept))
        write_text(PAGE.with_name(f"{name}.svg"), success_figure(kept))
        for stage in stages_of(kept):
            write_table(PAGE, f"{mark} {stage}", methods_table(kept, stage))


if __name__ == "__main__":
    main()
