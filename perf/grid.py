"""How long the published grid takes: five methods × nine budgets × nine seeds × four λ = 1,620 runs, from a measured slice.

    python -m perf.grid OUT.json [--seeds 1] [--steps 3000] [--autocast]

Of every method some seeds at all four λ are fitted to their plateau and measured as `rankone bench german
--preset published` does, at a short and at a long budget (a row of the text to forget is at most the context, so longer
ones cost a step about the same). From these come the steps of a run and the seconds of its measuring; what a step
costs is timed apart, in a whole stack as the grid has them. All in processor seconds of one thread. Budgets up to 32 tokens
are taken to cost what the short one does, the others what the long one does. Choosing rates, which the grid needs before, is
counted apart. The limit is what the products of the fits alone would take at the rate that this processor multiplies at, in
the numbers that they compute in.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from perf.environment import environment
from torch.utils.flop_counter import FlopCounterMode

from rankone.core.files import write_json
from rankone.edits.fitting.fit import fit_many
from rankone.edits.fitting.run import Run
from rankone.experiments.bench.cells import Cell, tuning_cells
from rankone.experiments.bench.run import Benchmark
from rankone.experiments.config import read_recipe
from rankone.recipes import recipe_file

RECIPE = recipe_file("german")
SHORT, LONG, BOUND = 8, 128, 32
RETAIN = "english"
# Steps that are timed, beyond those that any fit begins with.
FIRST, TIMED = 2, 6


def cells(benchmark: Benchmark, method: str, budget: int, seeds: int) -> list[Cell]:
    """Runs of some seeds at every λ."""
    config = benchmark.config
    rate = config.rate(method, budget).learning_rate
    return [
        Cell(method=method, retain=RETAIN, budget=budget, seed=s, retain_weight=w, learning_rate=rate)
        for s in range(seeds)
        for w in config.weights
    ]


def stacked(benchmark: Benchmark, method: str, budget: int) -> tuple[int, Callable[[int], float]]:
    """How many runs a stack of all seeds at every λ has, and a fit of it: so many steps → processor seconds."""
    job, config = benchmark.job(RETAIN), benchmark.config
    runs = [
        Run(job.forget_text(c.budget, c.seed), c.seed, c.retain_weight, c.learning_rate)
        for c in cells(benchmark, method, budget, config.seeds)
    ]
    start = job.starts(method)[0]

    def fit(steps: int) -> float:
        clock = time.process_time()
        asked = config.fit.model_copy(update={"steps": steps})
        fit_many(job.workspace.model, start, runs, job.retain_text, asked, keep_diverged=True)
        return time.process_time() - clock

    return len(runs), fit


def step_cost(benchmark: Benchmark, method: str, budget: int) -> tuple[float, float]:
    """(processor seconds, operations of products) of a step of one run, in a stack of all seeds at every λ."""
    count, fit = stacked(benchmark, method, budget)

    def operations(steps: int) -> float:
        with FlopCounterMode(display=False) as counter:
            fit(steps)
        return float(counter.get_total_flops())

    fit(1)
    seconds = min(fit(FIRST + TIMED) for _ in range(2)) - min(fit(FIRST) for _ in range(2))
    done = operations(FIRST + TIMED) - operations(FIRST)
    return seconds / TIMED / count, done / TIMED / count


def measured(benchmark: Benchmark, method: str, budget: int, seeds: int) -> dict[str, Any]:
    """What a run of one method at one budget costs: steps of all starts, a step, and what follows."""
    asked, sized = cells(benchmark, method, budget, seeds), benchmark.config.sized
    bench = benchmark.bench(method, RETAIN, True)
    bench.prepare()  # What is prepared once for a whole method is no cost of these few runs.
    runs = bench.runs(asked)
    clock = time.process_time()
    fits = bench.fitted(runs, sized)
    fitting = time.process_time() - clock
    clock = time.process_time()
    bench.outcomes(asked, fits, sized)
    rest = (time.process_time() - clock) / len(asked)
    steps = [fit.steps for of_start in fits for fit in of_start]
    seconds, operations = step_cost(benchmark, method, budget)
    each = sum(steps) / len(asked)
    row = {"method": method, "budget": budget, "steps": steps, "steps_per_run": each, "step_seconds": seconds}
    row |= {"step_gflop": operations / 1e9, "rest_seconds": rest, "slice_step_seconds": fitting / sum(steps)}
    print(row | {"steps": f"{min(steps)} to {max(steps)}"}, flush=True)
    return row | {"seconds_per_run": each * seconds + rest, "gflop_per_run": each * operations / 1e9}


def rate_of_products(benchmark: Benchmark) -> float:
    """Operations a second of this processor at the model's own largest product, best of some."""
    weight = benchmark.workspace.model.get_output_embeddings().weight.detach()  # pyright: ignore[reportOptionalMemberAccess]
    dtype = torch.bfloat16 if benchmark.config.fit.autocast else torch.float32
    weight, x = weight.to(dtype), torch.randn(512, weight.shape[1]).to(dtype)
    best = float("inf")
    for _ in range(30):
        clock = time.process_time()
        for _ in range(5):
            torch.mm(x, weight.T)
        best = min(best, (time.process_time() - clock) / 5)
    return 2.0 * x.numel() * len(weight) / best


def hours(rows: list[dict[str, Any]], benchmark: Benchmark, rate: float) -> dict[str, float]:
    """Processor hours of the grid's runs, of those that choose rates, and of the products of the fits alone."""
    config, found = benchmark.config, {}
    by = {(row["method"], row["budget"]): row for row in rows}
    limit = 0.0
    for method in config.methods:
        per = {b: by[method, SHORT if b <= BOUND else LONG] for b in config.budgets_of(method)}
        runs = config.seeds * len(config.weights)
        found[method] = sum(row["seconds_per_run"] for row in per.values()) * runs / 3600
        found[f"{method}, rates"] = (
            sum(per[c.budget]["seconds_per_run"] for c in tuning_cells(config, method, RETAIN)) / 3600
        )
        limit += sum(row["gflop_per_run"] for row in per.values()) * 1e9 * runs / rate / 3600
    found["grid"] = sum(found[m] for m in config.methods)
    found["rates"] = sum(found[f"{m}, rates"] for m in config.methods)
    found["products of the grid's fits"] = limit
    return found


def opened(steps: int, autocast: bool) -> Benchmark:
    """The published grid's methods and one retain set."""
    config = read_recipe(RECIPE, "published")
    fit = config.fit.model_copy(update={"steps": steps, "autocast": autocast})
    return Benchmark(config.model_copy(update={"fit": fit}))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--autocast", action="store_true", help="fits in bfloat16")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    benchmark = opened(asked.steps, asked.autocast)
    rate = rate_of_products(benchmark)
    methods = benchmark.config.methods
    rows = [measured(benchmark, m, b, asked.seeds) for m in methods for b in (SHORT, LONG)]
    taken = hours(rows, benchmark, rate)
    given = {"seeds": asked.seeds, "steps": asked.steps, "autocast": asked.autocast, "gflops": rate / 1e9}
    write_json(asked.out, {"asked": given, "rows": rows, "hours": taken, "environment": environment()})
    print("\n".join(f"{what}: {value:.2f} processor hours" for what, value in taken.items()))


if __name__ == "__main__":
    main()
