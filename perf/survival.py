"""What survives of the same removal by different methods: the attacks of `rankone survive`, method by method.

    python -m perf.survival --methods scalar neuron    # fits and attacks; several such may run side by side, and go on
    python -m perf.survival                            # the tables, into docs/bench.md

Every method is fitted on BUDGET German tokens as in `bench recipes/german.yaml --preset claims`, at the rate that this
chose (results/claims), from SEEDS seeds, and brought to the size that validation text scores best: so all are
compared where they have removed about as much. Each fit is exported, loaded again and attacked with text of its own seed. A
fit a file in results/survival; what is there is not run again. In float32, one thread each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from perf.environment import environment
from perf.pages import markdown, write_table

from rankone.core.artifact import write_json
from rankone.edits.fitting.run import Fit
from rankone.experiments.bench.cells import Cell, grid_cells
from rankone.experiments.bench.ledger import Outcome
from rankone.experiments.bench.run import Benchmark
from rankone.experiments.bench.summary import interval
from rankone.experiments.config import read_recipe
from rankone.experiments.names import method_name, method_order
from rankone.experiments.requests import Rate
from rankone.experiments.survival.config import ALL, WORDS, Mean, SurviveRequest
from rankone.experiments.survival.survive import survive
from rankone.render.values import spanned

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "perf" / "results" / "survival"
CLAIMS = ROOT / "perf" / "results" / "claims"
PAGE = ROOT / "docs" / "bench.md"
METHODS = ("scalar", "neuron", "discriminant", "top16", "lora_r1_local", "lora_r1", "lora_r4")
RETAIN, BUDGET, SEEDS = "english", 2048, 5
# German tokens that attacks are given, and tokens of every domain that what they leave is measured on.
ATTACKED, TOKENS = (16, 64, 256, 1024), 600


def opened(methods: Sequence[str]) -> Benchmark:
    """The preset `claims` at one budget, its rates as they were chosen there."""
    chosen = json.loads((CLAIMS / "rates.json").read_text("utf8"))["rates"]
    rates = {m: {BUDGET: Rate.checked(chosen[m][RETAIN][str(BUDGET)], str(CLAIMS))} for m in methods}
    changes = {
        "methods": tuple(methods),
        "budgets": (BUDGET,),
        "seeds": SEEDS,
        "rates": rates,
        "sized": False,
    }
    return Benchmark(read_recipe(ROOT / "recipes" / "german.yaml", "claims", **changes))


def fits_of(benchmark: Benchmark, method: str, seeds: Sequence[int]) -> list[tuple[Cell, Outcome, Fit]]:
    """The fits of a method from these seeds, at the size that validation text scores best, and how they measure."""
    config = benchmark.config
    rate = {BUDGET: config.rate(method, BUDGET)}
    cells = [cell for cell in grid_cells(config, method, RETAIN, rate) if cell.seed in seeds]
    bench = benchmark.bench(method, RETAIN, True)
    made = list[tuple[Cell, Outcome, Fit]]()
    for cell, outcome in zip(cells, bench.run(cells, [""] * len(cells), False), strict=True):
        if outcome.matched is None:
            raise SystemExit(f"{method}, seed {cell.seed}: {outcome.error}")
        fit = bench.fits[cell]
        parameters = fit.method.resized(fit.parameters, outcome.matched.size)
        made.append((cell, outcome, replace(fit, parameters=parameters)))
    return made


def attacked(benchmark: Benchmark, cell: Cell, outcome: Outcome, fit: Fit) -> dict[str, Any]:
    """One fit, what it removed, and what every attack left."""
    assert outcome.matched is not None
    config, clock = benchmark.config, time.process_time()
    request = SurviveRequest(
        edit=Path(cell.method),
        forget=config.forget,
        benign=config.judged,
        budgets=ATTACKED,
        seeds=1,
        seed=cell.seed,
        tokens=TOKENS,
    )
    reply = survive(benchmark.workspace, fit.edit.bind(benchmark.workspace.model), request)
    removed = {
        "size": outcome.matched.size,
        "alpha": outcome.matched.alpha,
        "rises": {domain: result.rise for domain, result in outcome.matched.test.items()},
        "at_chance": benchmark.judged.removed(outcome.matched.test[config.forget].ce),
    }
    return {
        "method": cell.method,
        "seed": cell.seed,
        "part": benchmark.pick.pick,
        "cell": cell.model_dump(mode="json"),
        "removed": removed,
        "survive": reply.model_dump(mode="json", exclude={"left", "out"}),
        "processor_seconds": time.process_time() - clock,
        "environment": environment(),
    }


def run(methods: Sequence[str]) -> None:
    """What is not in results/survival yet."""
    torch.set_num_threads(1)
    benchmark = opened(methods)
    for method in methods:
        left = [seed for seed in range(SEEDS) if not _file(method, seed).is_file()]
        for cell, outcome, fit in fits_of(benchmark, method, left) if left else ():
            row = attacked(benchmark, cell, outcome, fit)
            write_json(_file(method, cell.seed), row)
            print(f"{method}, seed {cell.seed}: {row['processor_seconds']:.0f} processor seconds", flush=True)


def _file(method: str, seed: int) -> Path:
    return KEPT / f"{method}-{seed}.json"


def kept() -> list[dict[str, Any]]:
    """Every fit that was attacked."""
    return [json.loads(path.read_text("utf8")) for path in sorted(KEPT.glob("*.json"))]


Place = tuple[str, int]


def regained(rows: Sequence[dict[str, Any]]) -> dict[str, dict[Place, list[float]]]:
    """By method, attack and tokens the shares of the removal that came back, a number a fit."""
    shares: dict[str, dict[Place, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for one in row["survive"]["runs"]:
            shares[row["method"]][one["attack"], one["budget"]].append(one["regained"])
    return shares


def _percent(values: Sequence[float]) -> str:
    low, high = interval(values)
    return Mean(mean=sum(values) / len(values), low=low, high=high).percent


def attacks_table(rows: Sequence[dict[str, Any]]) -> str:
    """A row an attack and its tokens, a column a method: percent of the removal that came back."""
    shares = regained(rows)
    methods = method_order(list(shares))
    places = sorted({place for by in shares.values() for place in by}, key=lambda p: (ALL.index(p[0]), p[1]))
    table = [
        [
            WORDS[attack],
            f"{budget:,}" if budget else "",
            *(_percent(shares[m][attack, budget]) for m in methods),
        ]
        for attack, budget in places
    ]
    return markdown(["attack", "tokens", *map(method_name, methods)], table)


def removed_table(rows: Sequence[dict[str, Any]]) -> str:
    """A row a method: what its fits removed before any attack, and how many of them ended at chance."""
    table = []
    for method in method_order(list({row["method"] for row in rows})):
        fits = [row["removed"] for row in rows if row["method"] == method]
        rises = {d: [fit["rises"][d] for fit in fits] for d in fits[0]["rises"]}
        worst = max((d for d in rises if d != "de"), key=lambda d: sum(rises[d]))
        said = (spanned(sum(v) / len(v), *interval(v), 2) for v in (rises["de"], rises[worst]))
        german, other = said
        at = sum(fit["at_chance"] for fit in fits)
        table.append([method_name(method), f"{at} of {len(fits)}", german, f"{worst} {other}"])
    return markdown(["method", "fits at chance", "German", "most elsewhere"], table)


def main() -> None:
    """Attack the methods that are named; with none write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS)
    if (methods := parser.parse_args().methods) is not None:
        return run(methods)
    rows = kept()
    write_table(PAGE, "perf.survival removed", removed_table(rows))
    write_table(PAGE, "perf.survival", attacks_table(rows))


if __name__ == "__main__":
    main()
