"""F1 to F4 and A1 to A4 of the published experiment: the demo's figures on the benchmark's rows, with other methods each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from matplotlib.figure import Figure

from rankone.edits.fitting.aim import Aim
from rankone.experiments.bench.summary import Cellwise, chosen_weights
from rankone.experiments.bench.tables import BenchRow
from rankone.experiments.figures import off_target, trade_off
from rankone.experiments.tables import RUNS, Means, RunRow, Share, Shares
from rankone.render.tables import Table


class Panel(NamedTuple):
    """One published figure: its kind and the methods it shows."""

    kind: str
    methods: tuple[str, ...]
    about: str


PANELS: Mapping[str, Panel] = {
    "F1": Panel("trade-off", ("top16", "lora_r1"), "top-16 scalars against LoRA rank 1"),
    "F2": Panel("off-target", ("top16", "lora_r1"), "what else top-16 scalars and LoRA rank 1 change"),
    "F3": Panel("trade-off", ("scalar", "lora_r1"), "one scalar against LoRA rank 1"),
    "F4": Panel(
        "off-target", ("scalar", "top16", "lora_r1"), "what else one scalar, top-16 and LoRA rank 1 change"
    ),
    "A1": Panel("trade-off", ("scalar", "lora_r1", "lora_r4"), "LoRA rank 4 added"),
    "A2": Panel("off-target", ("scalar", "top16", "lora_r1", "lora_r4"), "what else, with LoRA rank 4"),
    "A3": Panel("trade-off", ("scalar", "lora_r1", "lora_r1_local"), "localised LoRA added"),
    "A4": Panel("off-target", ("scalar", "lora_r1", "lora_r1_local"), "what else, with localised LoRA"),
}


def panel_rows(rows: Sequence[BenchRow], panel: Panel, retain_set: str, stage: str) -> list[RunRow]:
    """The rows a figure draws, in the columns of `runs.parquet`: every λ of trade-offs, else the chosen one."""
    chosen = [row for row in _of(rows, retain_set, stage) if row["method"] in panel.methods]
    if panel.kind == "off-target":
        weights = chosen_weights(rows)
        chosen = [
            row
            for row in chosen
            if row["retain_weight"] == weights.get((row["method"], retain_set, stage, row["budget"]))
        ]
    return run_rows(chosen)


def _of(rows: Sequence[BenchRow], retain_set: str, stage: str) -> list[BenchRow]:
    return [row for row in rows if (row["retain_set"], row["stage"]) == (retain_set, stage)]


def drawn(rows: Sequence[RunRow], panel: Panel, aim: Aim, means: Means, shares: Shares) -> Figure:
    """A published figure from the rows of `panel_rows`."""
    return trade_off(rows, aim, means) if panel.kind == "trade-off" else off_target(rows, aim, means, shares)


def means_of(cells: Sequence[Cellwise]) -> Means:
    """The mean rises at the chosen λ, with their intervals over seeds and passages; those that have one."""
    means: Means = {}
    for cell in cells:
        for domain in cell.texts:
            low, high = cell.interval(domain)
            if low is not None and high is not None:
                place = cell.method, cell.budget, cell.retain_weight, domain
                means[place] = cell.mean(domain), low, high
    return means


def shares_of(cells: Sequence[Cellwise], aim: Aim) -> Shares:
    """The seeds that succeed at the chosen λ, with intervals over seeds and passages."""
    return {
        (cell.method, cell.budget): Share(cell.successes(aim), len(cell.seeds), *cell.share(aim))
        for cell in cells
    }


def csv_of(name: str, rows: Sequence[RunRow], means: Means, shares: Shares | None = None) -> str:
    """What a figure draws: its runs, each with the mean of its method, budget, λ and domain and the mean's interval.

    shares: with how many seeds of its method and budget succeed, and the interval of the share.
    """
    counted = [] if shares is None else ["successes", "seeds", "success_low", "success_high"]
    table = [
        [
            *(row[column] for column in RUNS.names),
            *means.get((row["method"], row["budget"], row["retain_weight"], row["domain"]), (None,) * 3),
            *(() if shares is None else shares[row["method"], row["budget"]]),
        ]
        for row in rows
    ]
    return Table.of(name, [*RUNS.names, "mean", "low", "high", *counted], table).to_csv()


def success_csv(shares: Shares, in_all: Mapping[tuple[str, int], int]) -> str:
    """What the figure of successes draws: by method and budget the seeds that succeed, and all tokens that were spent."""
    rows = [[*at, in_all[at], *share] for at, share in shares.items()]
    return Table.of(
        "success",
        ["method", "budget", "tokens_in_all", "successes", "seeds", "success_low", "success_high"],
        rows,
    ).to_csv()


def frontier(rows: Sequence[BenchRow], methods: Sequence[str], retain_set: str, stage: str) -> list[RunRow]:
    """The rows of all methods at their largest shared budget, every λ: the forget–retain frontier in one panel."""
    shown = [row for row in _of(rows, retain_set, stage) if row["method"] in methods]
    budgets = [{row["budget"] for row in shown if row["method"] == method} for method in methods]
    shared = set.intersection(*budgets) if budgets else set()
    if not shared:
        return []
    return run_rows([row for row in shown if row["budget"] == max(shared)])


def run_rows(rows: Sequence[BenchRow]) -> list[RunRow]:
    """The columns that figures are drawn from."""
    values: Sequence[Mapping[str, object]] = rows
    return [cast("RunRow", {name: row[name] for name in RUNS.names}) for row in values]
