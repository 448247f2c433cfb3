"""How long the published grid takes: five methods × nine budgets × nine seeds × four λ = 1,620 runs, from a measured slice.

    python -m perf.grid OUT.json [--runs 1] [--steps 3000]

Of every method a stack of seeds (`runs`, of edits of one matrix eight times as many) is fitted to its plateau and measured
as `rankone bench recipes/german.yaml` does, at a short and at a long budget (a row of the text to forget is at most the
context, so longer ones cost a step the same), in processor seconds. Budgets up to 32 tokens are taken to cost what the short
one does, the others what the long one does. Choosing rates, which the grid needs before, is counted apart.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from perf.environment import environment

from rankone.core.files import write_json
from rankone.experiments.bench.cells import Cell, tuning_cells
from rankone.experiments.bench.run import Benchmark
from rankone.experiments.config import read_recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "german.yaml"
METHODS = ("scalar", "top16", "lora_r1_local", "lora_r1", "lora_r4")
SHORT, LONG, BOUND = 8, 128, 32
# An edit of one matrix is cheap in a stack alone.
CHEAP = {"scalar": 8, "lora_r1_local": 8}
RETAIN = "english"


def measured(benchmark: Benchmark, method: str, budget: int, runs: int) -> dict[str, Any]:
    """Processor seconds and steps of a stack of one method at one budget."""
    rate = benchmark.config.rate(method, budget).learning_rate
    cells = [
        Cell(method=method, retain=RETAIN, budget=budget, seed=s, retain_weight=1.0, learning_rate=rate)
        for s in range(runs)
    ]
    stack = benchmark.bench(method, RETAIN, True)
    clock = time.process_time()
    outcomes = stack.run(cells, [str(s) for s in range(runs)], benchmark.config.sized)
    seconds = (time.process_time() - clock) / runs
    steps = [outcome.steps for outcome in outcomes]
    print(f"{method} at {budget}: {seconds:.1f} s a run, {steps} steps", flush=True)
    return {"method": method, "budget": budget, "seconds_per_run": seconds, "steps": steps}


def hours(rows: list[dict[str, Any]], benchmark: Benchmark) -> dict[str, float]:
    """Processor hours of the grid's runs, and of the runs that choose rates, by method."""
    config, found = benchmark.config, {}
    cost = {(row["method"], row["budget"]): row["seconds_per_run"] for row in rows}
    for method in METHODS:
        per = {b: cost[method, SHORT if b <= BOUND else LONG] / 3600 for b in config.budgets_of(method)}
        found[method] = sum(per.values()) * config.seeds * len(config.weights)
        found[f"{method}, rates"] = sum(per[c.budget] for c in tuning_cells(config, method, RETAIN))
    found["grid"] = sum(found[m] for m in METHODS)
    found["rates"] = sum(found[f"{m}, rates"] for m in METHODS)
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3000)
    asked = parser.parse_args()
    config = read_recipe(RECIPE)
    fit = config.fit.model_copy(update={"steps": asked.steps})
    config = config.model_copy(update={"methods": METHODS, "fit": fit, "retain": {RETAIN: ("en",)}})
    benchmark = Benchmark(config)
    rows = [measured(benchmark, m, b, asked.runs * CHEAP.get(m, 1)) for m in METHODS for b in (SHORT, LONG)]
    taken = hours(rows, benchmark)
    write_json(asked.out, {"rows": rows, "hours": taken, "environment": environment()})
    print("\n".join(f"{what}: {value:.2f} processor hours" for what, value in taken.items()))


if __name__ == "__main__":
    main()
