"""What survives of the same removal by different methods: the attacks of `rankone survive`, method by method.

    python -m perf.survival --methods scalar neuron    # fits and attacks; several such may run side by side, and go on
    python -m perf.survival --methods scalar --again prompt    # fits anew, and puts these attacks in place of those kept
    python -m perf.survival --unedited                 # the control: the same training of the model without an edit
    python -m perf.survival                            # the tables and the figure, into docs/

Every method is fitted on BUDGET German tokens as in `bench german --preset claims`, at the rate that this
chose (results/claims), from SEEDS seeds, and brought to the size that validation text scores best: so all are
brought as near to chance as they go. Each fit is exported, loaded again and attacked with text of its seed, which all
methods share. A fit a file in results/survival; what is there is not run again. In float32, one thread each.
What came back is what is left less what the same training does to the unedited model: on few tokens that does damage.
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
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter
from perf.environment import environment
from perf.pages import markdown, write_table

from rankone.core.artifact import write_json
from rankone.core.files import write_text
from rankone.edits.fitting.run import Fit
from rankone.experiments.bench.cells import Cell, grid_cells
from rankone.experiments.bench.ledger import Outcome
from rankone.experiments.bench.run import Benchmark
from rankone.experiments.bench.summary import interval
from rankone.experiments.config import read_recipe
from rankone.experiments.names import method_name, method_order, method_styles
from rankone.experiments.requests import Rate
from rankone.experiments.survival.config import ALL, WORDS, Attack, Mean, SurviveRequest
from rankone.experiments.survival.survive import survive
from rankone.experiments.survival.training import after_training
from rankone.recipes import recipe_file
from rankone.render.colours import MUTED
from rankone.render.theme import figure, svg, themed
from rankone.render.values import signed, spanned
from rankone.text.domains import domain_name

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "perf" / "results" / "survival"
CLAIMS = ROOT / "perf" / "results" / "claims"
PAGE = ROOT / "docs" / "bench.md"
RECIPE = recipe_file("german")
METHODS = ("scalar", "neuron", "discriminant", "top16", "lora_r1_local", "lora_r1", "lora_r4")
RETAIN, BUDGET, SEEDS = "english", 2048, 5
# German tokens that attacks are given, and tokens of every domain that what they leave is measured on.
ATTACKED, TOKENS = (16, 64, 256, 1024), 600
TRAINED: tuple[Attack, ...] = ("relearn-lora", "relearn-full", "benign-lora", "benign-full")
UNEDITED = "unedited"
Place = tuple[str, int]
Controls = dict[tuple[int, str, int], dict[str, float]]


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
    return Benchmark(read_recipe(RECIPE, "claims", **changes))


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


def attacked(
    benchmark: Benchmark, cell: Cell, outcome: Outcome, fit: Fit, attacks: Sequence[str] = ()
) -> dict[str, Any]:
    """One fit, what it removed, and what every attack left. attacks: not all of them."""
    assert outcome.matched is not None
    forget, clock = benchmark.config.forget, time.process_time()
    request = _request(benchmark, cell.method, cell.seed, attacks)
    # What the same training does to the unedited model is the same beside every fit: `control` has it.
    edit = fit.edit.bind(benchmark.workspace.model)
    reply = survive(benchmark.workspace, edit, request, control=False)
    removed = {
        "size": outcome.matched.size,
        "alpha": outcome.matched.alpha,
        "rises": {domain: result.rise for domain, result in outcome.matched.test.items()},
        "at_chance": benchmark.judged.removed(outcome.matched.test[forget].ce),
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


def again(methods: Sequence[str], attacks: Sequence[str]) -> None:
    """These attacks on every fit that is kept, in place of the runs of them that are.

    SystemExit where a fit does not come out as it was kept: then all of it has to be run anew.
    """
    torch.set_num_threads(1)
    benchmark = opened(methods)
    for method in methods:
        for cell, outcome, fit in fits_of(benchmark, method, range(SEEDS)):
            file = _file(method, cell.seed)
            new = attacked(benchmark, cell, outcome, fit, attacks)
            row = replaced(json.loads(file.read_text("utf8")), new, attacks)
            write_json(file, row)
            print(f"{method}, seed {cell.seed}", flush=True)


def replaced(row: dict[str, Any], new: dict[str, Any], attacks: Sequence[str]) -> dict[str, Any]:
    """A kept fit with these attacks anew; SystemExit where the fit itself did not come out as it was kept."""
    if new["removed"] != row["removed"]:
        raise SystemExit(
            f"another fit than is kept ({row['removed']}, now {new['removed']}): remove its file"
        )
    runs = [one for one in row["survive"]["runs"] if one["attack"] not in attacks] + new["survive"]["runs"]
    survived = {**row["survive"], "runs": sorted(runs, key=lambda one: ALL.index(one["attack"]))}
    anew = {"attacks": list(attacks), "environment": new["environment"]}
    return {**row, "survive": survived, "again": anew}


def control(seeds: Sequence[int]) -> None:
    """The losses of the unedited model after every attack that trains but the edit's own size, a file a seed."""
    torch.set_num_threads(1)
    benchmark = opened(METHODS[:1])
    space, config = benchmark.workspace, benchmark.config
    text = space.text(list(dict.fromkeys((config.forget, *space.corpus.domains()))), "test", TOKENS)
    for seed in seeds:
        if _file(UNEDITED, seed).is_file():
            continue
        request = _request(benchmark, UNEDITED, seed)
        runs = [
            {"attack": attack, "budget": budget, "ce": {d: losses.mean for d, losses in after.items()}}
            for attack in TRAINED
            for budget in ATTACKED
            for after in after_training(space, space.model, request, attack, budget, text)
        ]
        write_json(_file(UNEDITED, seed), {"seed": seed, "runs": runs, "environment": environment()})
        print(f"unedited, seed {seed}", flush=True)


def _request(benchmark: Benchmark, edit: str, seed: int, attacks: Sequence[str] = ()) -> SurviveRequest:
    config = benchmark.config
    given = {"edit": Path(edit), "forget": config.forget, "benign": config.judged, "tokens": TOKENS}
    if not attacks or set(attacks) & {"knob", *TRAINED}:
        given |= {"budgets": ATTACKED, "seeds": 1, "seed": seed}
    return SurviveRequest.checked({**given, "attacks": tuple(attacks)}, "survive")


def _file(method: str, seed: int) -> Path:
    return KEPT / f"{method}-{seed}.json"


def kept() -> list[dict[str, Any]]:
    """Every fit that was attacked."""
    return [json.loads(p.read_text("utf8")) for p in sorted(KEPT.glob("*.json")) if UNEDITED not in p.name]


def controls() -> Controls:
    """By seed, attack and tokens the cross-entropies of the unedited model after it."""
    files = [json.loads(path.read_text("utf8")) for path in sorted(KEPT.glob(f"{UNEDITED}-*.json"))]
    return {(file["seed"], run["attack"], run["budget"]): run["ce"] for file in files for run in file["runs"]}


def regained(rows: Sequence[dict[str, Any]], beside: Controls) -> dict[str, dict[Place, list[float]]]:
    """By method, attack and tokens the shares of the removal that came back, a number a fit.

    beside: what `controls` read; where it has nothing what is left is what the unedited model has not got, untrained.
    """
    shares: dict[str, dict[Place, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        forget, removed = row["survive"]["forget"], row["survive"]["removed"]
        for one in row["survive"]["runs"]:
            alike = beside.get((row["seed"], one["attack"], one["budget"])) or one["base"]
            share = 1 - (one["ce"][forget] - alike[forget]) / one.get("removed", removed)
            shares[row["method"]][one["attack"], one["budget"]].append(share)
    return shares


def damage_table(rows: Sequence[dict[str, Any]], beside: Controls) -> str:
    """What attacks that train do by themselves: rises of the unedited model, and of English over all fits."""
    forget, table = rows[0]["survive"]["forget"], list[list[str]]()
    base = rows[0]["survive"]["runs"][0]["base"]
    for attack, budget in [(attack, budget) for attack in TRAINED for budget in ATTACKED]:
        alike = [ce for (_, *place), ce in beside.items() if place == [attack, budget]]
        said = [_mean_rise([ce[domain] - base[domain] for ce in alike]) for domain in (forget, "en")]
        fits = [
            one
            for row in rows
            for one in row["survive"]["runs"]
            if (one["attack"], one["budget"]) == (attack, budget)
        ]
        english = sum(one["ce"]["en"] - one["base"]["en"] for one in fits) / len(fits)
        table.append([WORDS[attack], f"{budget:,}", *said, signed(english, 2)])
    titles = [f"{domain_name(forget)}, unedited model", "English, unedited model", "English, edited models"]
    return markdown(["attack", "tokens", *titles], table)


def _mean_rise(values: Sequence[float]) -> str:
    return spanned(sum(values) / len(values), *interval(values), 2)


def _percent(values: Sequence[float]) -> str:
    low, high = interval(values)
    return Mean(mean=sum(values) / len(values), low=low, high=high).percent


def attacks_table(rows: Sequence[dict[str, Any]], beside: Controls) -> str:
    """A row an attack and its tokens, a column a method: percent of the removal that came back."""
    shares = regained(rows, beside)
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


@themed
def relearning(rows: Sequence[dict[str, Any]], beside: Controls) -> Figure:
    """By tokens the share of the removal that training brings back: a panel an attack, a line a method."""
    shares = regained(rows, beside)
    styles = method_styles(method_order(list(shares)))
    keys = [
        Line2D([], [], color=colour, marker=marker, label=method_name(method))
        for method, (colour, marker) in styles.items()
    ]
    title = "What comes back when an edited model is trained"
    note = (
        "share of the removal that came back, beside the unedited model trained likewise; mean of the fits, "
        "upright: their 95% interval"
    )
    fig = figure(8.6, 6.0, title, note, keys)
    grid = fig.subplots(2, 2, sharex=True, sharey=True).flatten().tolist()
    for axes, attack in zip(grid, TRAINED, strict=True):
        axes.set_title(WORDS[attack])
        axes.set_xscale("log", base=2)
        axes.set_ylim(-0.45, 1.45)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.axhline(1, color=MUTED, linewidth=0.8, linestyle=":")
        for i, (method, (colour, marker)) in enumerate(styles.items()):
            at = {b: values for (name, b), values in shares[method].items() if name == attack}
            means = [sum(values) / len(values) for values in at.values()]
            axes.plot(list(at), means, color=colour, marker=marker, label=method)
            for budget, values in at.items():
                place = budget * 1.04 ** (i - (len(styles) - 1) / 2)
                axes.plot([place] * 2, interval(values), color=colour, linewidth=0.9, alpha=0.7)
        axes.xaxis.set_major_locator(FixedLocator(list(ATTACKED)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in grid[2:]:
        axes.set_xlabel("tokens trained on")
    return fig


def removed_table(rows: Sequence[dict[str, Any]]) -> str:
    """A row a method: what its fits removed before any attack, and how many of them ended at chance."""
    forget, table = rows[0]["survive"]["forget"], list[list[str]]()
    others = [domain for domain in read_recipe(RECIPE, "claims").trained if domain != forget]
    for method in method_order(list({row["method"] for row in rows})):
        fits = [row["removed"] for row in rows if row["method"] == method]
        rises = {d: [fit["rises"][d] for fit in fits] for d in (forget, *others)}
        worst = max(others, key=lambda d: sum(rises[d]))
        removed, most = (_mean_rise(rises[domain]) for domain in (forget, worst))
        at = sum(fit["at_chance"] for fit in fits)
        table.append([method_name(method), f"{at} of {len(fits)}", removed, f"{domain_name(worst)} {most}"])
    return markdown(["method", "fits at chance", domain_name(forget), "most elsewhere"], table)


def main() -> None:
    """Attack the methods that are named; with none write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS)
    parser.add_argument("--again", nargs="+", choices=ALL, metavar="ATTACK")
    parser.add_argument("--unedited", nargs="*", type=int, metavar="SEED", help="seeds; default all")
    asked = parser.parse_args()
    if asked.methods is not None:
        return again(asked.methods, asked.again) if asked.again else run(asked.methods)
    if asked.unedited is not None:
        return control(asked.unedited or range(SEEDS))
    rows, beside = kept(), controls()
    write_table(PAGE, "perf.survival removed", removed_table(rows))
    write_table(PAGE, "perf.survival", attacks_table(rows, beside))
    write_table(PAGE, "perf.survival damage", damage_table(rows, beside))
    write_text(PAGE.with_name("survival.svg"), svg(relearning(rows, beside), "survival"))


if __name__ == "__main__":
    main()
