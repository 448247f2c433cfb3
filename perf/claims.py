"""The published claims, and the published grid: tables and figures of docs/bench.md from what `bench` made.

    python -m perf.claims --keep runs/claims       # of `bench german --preset claims` → results/claims/
    python -m perf.claims --keep runs/published    # of its preset `published` → results/published/
    python -m perf.claims --keep runs/others       # of its preset `claims_others` → results/claims_others/
    python -m perf.claims --keep runs/local        # of its preset `local_rates` → results/local_rates/
    python -m perf.claims --keep runs/lora         # of its preset `lora_rates` → results/lora_rates/
    python -m perf.claims                          # the tables, into docs/bench.md

Kept: `summary.parquet` (means over seeds with their intervals), `verdicts.json`, the chosen rates and what choosing took,
which part was picked, every single run (`fits.parquet`, and `bench.parquet` but for its passages), and what the figure of
successes draws; docs/claims.svg and docs/published.svg are drawn from that. A benchmark whose fits were not brought to
size is the grid, one of LoRAs alone is of their rates.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, cast

import pyarrow.parquet as pq
from perf.grid import BOUND, LONG, SHORT
from perf.languages import count_said, keep_result, row_said, rows_of, stages_of
from perf.pages import markdown, write_table

from rankone.core.artifact import read_json
from rankone.core.files import write_json, write_text
from rankone.edits.fitting.aim import Aim
from rankone.experiments.bench.cells import FIRST_TUNING_SEED
from rankone.experiments.bench.ledger import STAGES, Outcome
from rankone.experiments.bench.page import ROLLOUTS, verdicts_of
from rankone.experiments.bench.run import RUNS, BenchRecord, read_record
from rankone.experiments.bench.summary import by_stage
from rankone.experiments.bench.tables import BENCH, FITS, BenchRow, FitRow
from rankone.experiments.bench.verdicts import side_of
from rankone.experiments.config import BenchConfig
from rankone.experiments.figures import success_by_tokens
from rankone.experiments.measure import Rollout
from rankone.experiments.names import method_name, method_order
from rankone.experiments.tables import DAMAGE_BAR, Share, read_table
from rankone.render.theme import svg
from rankone.render.values import formatted
from rankone.text.domains import domain_name

KEPT = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "bench.md"
CLAIMS, GRID = "claims", "published"
# The claims with every other trained domain retained, in place of English alone.
OTHERS = "claims_others"
# Presets of LoRAs alone, whose rates are chosen on more seeds.
LOCAL, EVERYWHERE = "local_rates", "lora_rates"
# What fits of the two kept.
RETAINED = "English retained", "all others retained"
Row = dict[str, Any]


def _preset(config: BenchConfig) -> str:
    """Which of the recipe's presets a benchmark is of."""
    if all(method.startswith("lora") for method in config.methods):
        return LOCAL if config.methods == ("lora_r1_local",) else EVERYWHERE
    if "others" in config.retain:
        return OTHERS
    return CLAIMS if config.sized else GRID


def keep(folder: Path) -> None:
    """What is kept of a benchmark, its verdicts and rates beside it."""
    record = read_record(folder)
    kept = KEPT / _preset(record.config)
    keep_result(folder, kept)
    shutil.copyfile(folder / "fits.parquet", kept / "fits.parquet")
    write_json(kept / "verdicts.json", judged_again(folder, record), constants=True)
    runs = pq.read_table(folder / "bench.parquet")
    pq.write_table(
        runs.drop_columns([name for name in runs.column_names if name.startswith("passage_")]),
        kept / "bench.parquet",
    )
    *_, stage = stages_of(kept)
    (retained,) = record.config.retain
    shutil.copyfile(folder / "figures" / f"success-{retained}-{stage}.csv", kept / "success.csv")
    rates = record.model_dump(mode="json", include={"rates", "tuning_runs"})
    write_json(kept / "rates.json", rates | {"tuning_seconds": tuning_seconds(folder)})


def judged_again(folder: Path, record: BenchRecord) -> dict[str, Any]:
    """Verdicts of the code that keeps, whose rules may have changed since the benchmark ran."""
    rows = cast("list[BenchRow]", read_table(folder / "bench.parquet", BENCH))
    fits = cast("list[FitRow]", read_table(folder / "fits.parquet", FITS))
    written = json.loads((folder / ROLLOUTS).read_text("utf8"))
    rollouts = {name: [Rollout.checked(row, str(folder)) for row in each] for name, each in written.items()}
    judged = verdicts_of(record, rows, by_stage(rows, fits), rollouts)
    return {name: [verdict.plain() for verdict in verdicts] for name, verdicts in judged.items()}


def tuning_seconds(folder: Path) -> dict[str, float]:
    """By method the seconds of one worker that the runs took which chose its rates."""
    seconds: dict[str, float] = defaultdict(float)
    for path in sorted((folder / RUNS).glob("*.json")):
        run = Outcome.checked(read_json(path), str(path))
        if run.cell.seed >= FIRST_TUNING_SEED:
            seconds[run.cell.method] += run.seconds
    return dict(seconds)


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
        rows = ([f"{b:,}", *(_cell(at[b].get(method), chosen=True) for method in ran)] for b in budgets)
        return markdown([f"tokens, {STAGES[stage]}", *titles.values()], rows)
    rows = ([titles[method], *(_cell(at[b].get(method)) for b in budgets)] for method in ran)
    return markdown([f"method, {STAGES[stage]}", *(f"{b:,} tokens" for b in budgets)], rows)


class Counts:
    """Of a kept benchmark the seeds that bring the target to chance, by method and budget, at one size."""

    def __init__(self, folder: Path, stage: str) -> None:
        about = json.loads((folder / "about.json").read_text("utf8"))
        self.aim, self.config = Aim.checked(about["aim"], str(folder)), about["config"]
        self.others = [domain for domain in self.config["trained"] if domain != self.aim.domain]
        self.chosen = _chosen(folder, stage)
        self.methods = method_order(list(dict.fromkeys(method for method, _ in self.chosen)))
        self._runs: dict[tuple[str, int], dict[tuple[int, float], dict[str, Row]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        for row in pq.ParquetFile(folder / "bench.parquet").read().to_pylist():
            if row["stage"] == stage:
                run = self._runs[row["method"], row["budget"]]
                run[row["seed"], row["retain_weight"]][row["domain"]] = row

    def spared(self, method: str, budget: int, domains: Sequence[str], anywhere: bool = False) -> int | None:
        """Seeds that leave these domains up by less than the bar: at the chosen λ, or at one or another; None: no run."""
        place = method, budget
        if place not in self.chosen:
            return None
        weights = self.config["weights"] if anywhere else [self.chosen[place]]
        succeeded = {
            seed
            for (seed, weight), run in self._runs[place].items()
            if weight in weights
            and self.aim.removed(run[self.aim.domain]["ce"])
            and all(run[domain]["rise"] < DAMAGE_BAR for domain in domains)
        }
        return len(succeeded)


def counts_table(folder: Path, stage: str) -> str:
    """By method and budget the seeds that succeed: at the chosen λ, there with every trained domain spared, at any λ."""
    counts = Counts(folder, stage)
    budgets = counts.config["budgets"]

    def row(what: str, *asked: Any) -> list[str]:
        each = [counts.spared(method, budget, *asked) for budget in budgets]
        return [what, *("" if n is None else str(n) for n in each), str(sum(filter(None, each)))]

    rows = list[list[str]]()
    for method in counts.methods:
        rows.append([method_name(method), *row("English spared", counts.aim.retain)])
        rows.append(["", *row("every trained domain spared", counts.others)])
        if len(counts.config["weights"]) > 1:
            rows.append(["", *row("English spared, at one λ or another", counts.aim.retain, True)])
    titles = [f"{budget:,}" for budget in budgets]
    return markdown([f"method, {STAGES[stage]}", "seeds at chance", *titles, "all"], rows)


def retained_table(folder: Path, other: Path, stage: str) -> str:
    """Two benchmarks that differ in what was retained, at the budgets of the second: seeds that succeed, and of these in
    brackets those that spare every trained domain.
    """
    both = [Counts(each, stage) for each in (folder, other)]
    budgets = both[1].config["budgets"]

    def cell(counts: Counts, method: str, budget: int) -> str:
        some, all_spared = (counts.spared(method, budget, d) for d in (counts.aim.retain, counts.others))
        return "" if some is None else f"{some} ({all_spared})"

    rows = [
        [method_name(method), *(cell(counts, method, budget) for counts in both for budget in budgets)]
        for method in both[1].methods
    ]
    head = [f"{what}: {b:,}" if i == 0 else f"{b:,}" for what in RETAINED for i, b in enumerate(budgets)]
    return markdown([f"method, {STAGES[stage]}", *head], rows)


def scalar_table(folder: Path, stage: str) -> str:
    """One scalar by budget, λ and side of α = 1: its fits, their α, German over chance, and how far English rises.

    A fit within .01 of 1 is on neither side.
    """
    about = json.loads((folder / "about.json").read_text("utf8"))
    aim, chosen = Aim.checked(about["aim"], str(folder)), _chosen(folder, stage)
    (judged,) = aim.retain
    fits: dict[tuple[int, float], dict[int, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in pq.ParquetFile(folder / "bench.parquet").read().to_pylist():
        if row["method"] == "scalar" and row["stage"] == stage:
            fits[row["budget"], row["retain_weight"]][row["seed"]][row["domain"]] = row

    def ends(values: Sequence[float], digits: int) -> str:
        return " to ".join(dict.fromkeys(formatted(end(values), f".{digits}f") for end in (min, max)))

    rows = list[list[str]]()
    for (budget, weight), by_seed in sorted(fits.items()):
        for side, below in (("below 1", True), ("above 1", False)):
            here = [f for f in by_seed.values() if side_of(f[aim.domain]["alpha"]) is below]
            if here:
                german, english = ([fit[d] for fit in here] for d in (aim.domain, judged))
                said = f"{budget:,}", f"{weight:g}", "yes" if chosen["scalar", budget] == weight else ""
                alphas = ends([row["alpha"] for row in german], 1)
                shares = ends([row["ce"] / aim.chance for row in german], 2)
                rises = ends([row["rise"] for row in english], 3)
                rows.append([*said, side, str(len(here)), alphas, shares, rises])
    head = [
        "tokens",
        "λ",
        "chosen",
        "side",
        "fits",
        "α",
        "German over chance",
        f"{domain_name(judged)}, rise",
    ]
    return markdown(head, rows)


def _chosen(folder: Path, stage: str) -> dict[tuple[str, int], float]:
    """λ by method and budget."""
    summary = pq.ParquetFile(folder / "summary.parquet").read().to_pylist()
    return {(row["method"], row["budget"]): row["retain_weight"] for row in summary if row["stage"] == stage}


def _cell(row: Row | None, chosen: bool = False) -> str:
    if row is None:
        return ""
    worst = row["worst"]
    weight = f"; λ {row['retain_weight']:g}" if chosen else ""
    return (
        f"{count_said(row)}; {row_said(row, 2)}; {domain_name(worst['domain'])} {row_said(worst, 2)}{weight}"
    )


def cost_table(folder: Path) -> str:
    """A row a method: its runs, the steps and seconds of the median one, and hours of one worker: theirs, and for rates."""
    tuning = json.loads((folder / "rates.json").read_text("utf8"))["tuning_seconds"]
    runs = pq.ParquetFile(folder / "fits.parquet").read(["method", "steps", "seconds"]).to_pylist()
    by = {m: [r for r in runs if r["method"] == m] for m in method_order(list({r["method"] for r in runs}))}
    rows = [[method_name(method), *_cost(each, tuning.get(method, 0.0))] for method, each in by.items()]
    rows.append(["all", *_cost(runs, sum(tuning.values()))])
    head = [
        "method",
        "runs",
        "steps, median",
        "seconds, median",
        "worker hours",
        "choosing rates, worker hours",
    ]
    return markdown(head, rows)


def products_hours(folder: Path, measured: Path = KEPT / "grid.json") -> float:
    """Hours that the products alone of a grid's fits would take one worker, as `perf.grid` counted and timed them.

    Of fits from one start: steps of others are not in the table. It counted a short and a long budget of each method.
    """
    counted = json.loads(measured.read_text("utf8"))
    gflop = {(row["method"], row["budget"]): row["step_gflop"] for row in counted["rows"]}
    runs = pq.ParquetFile(folder / "fits.parquet").read(["method", "budget", "steps"]).to_pylist()
    at = [(run["method"], SHORT if run["budget"] <= BOUND else LONG) for run in runs]
    total = sum(run["steps"] * gflop[place] for run, place in zip(runs, at, strict=True))
    return total / counted["asked"]["gflops"] / 3600


def _cost(runs: Sequence[Row], tuning: float) -> tuple[str, ...]:
    steps, seconds = (median(run[what] for run in runs) for what in ("steps", "seconds"))
    hours = sum(run["seconds"] for run in runs) / 3600
    return f"{len(runs):,}", f"{steps:,.0f}", f"{seconds:.1f}", f"{hours:.2f}", f"{tuning / 3600:.2f}"


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
        *_, last = stages_of(kept)
        write_table(PAGE, f"{mark} counts", counts_table(kept, last))
        if name == GRID:
            print(scalar_table(kept, last))
            print(f"the products of the grid's fits alone: {products_hours(kept):.2f} worker hours")
        write_table(PAGE, f"{mark} figure", success_image(kept))
        write_text(PAGE.with_name(f"{name}.svg"), success_figure(kept))
        for stage in stages_of(kept):
            write_table(PAGE, f"{mark} {stage}", methods_table(kept, stage))
    if (KEPT / OTHERS).is_dir():
        for stage in stages_of(KEPT / OTHERS):
            beside = retained_table(KEPT / CLAIMS, KEPT / OTHERS, stage)
            write_table(PAGE, f"perf.claims {OTHERS} {stage}", beside)
        write_table(PAGE, f"perf.claims {OTHERS}", methods_table(KEPT / OTHERS, "matched"))
        write_table(PAGE, f"perf.claims {OTHERS} cost", cost_table(KEPT / OTHERS))
    for name in (LOCAL, EVERYWHERE):
        for stage in ("fitted", "matched") if (KEPT / name).is_dir() else ():
            write_table(PAGE, f"perf.claims {name} {stage}", counts_table(KEPT / name, stage))


if __name__ == "__main__":
    main()
