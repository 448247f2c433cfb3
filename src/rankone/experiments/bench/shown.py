"""The tables of a benchmark as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from rankone.edits.fitting.aim import Aim
from rankone.edits.methods.registry import kind_named
from rankone.experiments.bench.choice import size_ends
from rankone.experiments.bench.run import BenchRecord
from rankone.experiments.bench.summary import Cellwise
from rankone.experiments.bench.tables import FitRow
from rankone.experiments.bench.verdicts import Verdict
from rankone.experiments.job import DECOMPOSITION
from rankone.experiments.names import domain_names, method_name, method_order
from rankone.experiments.tables import DAMAGE_BAR
from rankone.render.columns import Column
from rankone.render.tables import Table
from rankone.render.values import formatted, spanned
from rankone.text.domains import domain_name


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """The published claims and what became of each."""
    rows = [[v.claim, v.verdict, v.figures] for v in verdicts]
    caption = (
        "Decided only where 95% intervals do not overlap; they are over seeds and passages of the test text."
    )
    return Table.of("What the published experiment claims", ["claim", "here", "figures"], rows, caption)


def successes_table(cells: Sequence[Cellwise], aim: Aim) -> Table:
    """Seeds that succeed, by method and budget, at the λ chosen on validation text."""
    budgets = sorted({cell.budget for cell in cells})
    by_place = {(cell.method, cell.budget): cell for cell in cells}
    rows = []
    for method in method_order([cell.method for cell in cells]):
        said = [_count(by_place.get((method, budget)), aim) for budget in budgets]
        rows.append([method_name(method), *said])
    rule = (
        f"{domain_name(aim.domain)} at ≥ .98 of chance and {domain_names(aim.retain)} up by < {DAMAGE_BAR:g}"
    )
    return Table.of(
        f"Seeds that succeed, by {domain_name(aim.domain)} tokens",
        ["method", *(f"{budget:,}" for budget in budgets)],
        rows,
        f"Success: {rule}. In brackets the 95% interval of the share over seeds and passages. {_chosen(cells, aim)}",
    )


def _chosen(cells: Sequence[Cellwise], aim: Aim) -> str:
    sizes = [size for cell in cells if cell.stage == "matched" for size in cell.values(aim.domain, "size")]
    if not sizes:
        return "λ chosen on validation text."
    said = "λ and sizes chosen on validation text: its tokens come on top of those that fits saw."
    low, high = size_ends()
    ends = {f"×{low:.3g}": sum(s <= low for s in sizes), f"×{high:.3g}": sum(s >= high for s in sizes)}
    at = " and ".join(f"{count} at {end}" for end, count in ends.items() if count)
    return f"{said} Of {len(sizes):,} sizes {at}, an end of what was tried." if at else said


def _count(cell: Cellwise | None, aim: Aim) -> str | None:
    if cell is None:
        return None
    return cell.counted(aim) + (f", {cell.failed} failed" if cell.failed else "")


def damage_table(cells: Sequence[Cellwise], aim: Aim) -> Table:
    """Rise of every domain by method and budget: mean over seeds and its interval."""
    domains = list(dict.fromkeys(d for cell in cells for seed in cell.seeds.values() for d in seed))
    order = method_order([cell.method for cell in cells])
    rows = []
    for cell in sorted(cells, key=lambda cell: (order.index(cell.method), cell.budget)):
        alphas = cell.values(aim.domain, "alpha")
        ends = (formatted(end(alphas), ".3g") for end in (min, max) if alphas)
        scale = " to ".join(dict.fromkeys(ends)) or None
        shown = [_rise(cell, domain) for domain in domains]
        rows.append([method_name(cell.method), cell.budget, cell.retain_weight, scale, *shown])
    columns = [
        "method",
        Column("tokens", ","),
        Column("λ", "g"),
        "α",
        *(f"{domain_name(d)}" for d in domains),
    ]
    caption = (
        "Rise of cross-entropy on test text, nats per token: mean over seeds, 95% interval over seeds and passages; "
        "α from the smallest to the largest of the seeds."
    )
    return Table.of("What each changes", columns, rows, caption)


def _rise(cell: Cellwise, domain: str) -> str | None:
    if not cell.values(domain, "rise"):
        return None
    return spanned(cell.mean(domain), *cell.interval(domain))


def rates_table(record: BenchRecord) -> Table:
    """The learning rate chosen for every method, retain set and budget."""
    config = record.config
    budgets = sorted({budget for method in config.methods for budget in config.budgets_of(method)})
    rows = [
        [
            method_name(method),
            name,
            record.tuning_runs.get(method, 0),
            *(
                f"{rates[b].learning_rate:g}" if b in rates and kind_named(method).trained else None
                for b in budgets
            ),
        ]
        for method, by_retain in record.rates.items()
        for name, rates in by_retain.items()
    ]
    columns = ["method", "retain set", "tuning runs", *(f"{budget:,}" for budget in budgets)]
    return Table.of("Selected learning rates", columns, rows, "Chosen on validation text, by budget; Adam.")


def accounts_table(record: BenchRecord) -> Table:
    """Tokens of the text to forget that were spent before a fit sees its budget."""
    rows = list[list[object]]([[what, count] for what, count in record.spent.items()])
    if DECOMPOSITION not in record.spent:
        rows.insert(0, [DECOMPOSITION, "unknown: it does not say what it was trained on"])
    chosen = "rates, λ and sizes" if record.config.matched else "rates and λ"
    rows.append([f"choosing {chosen}, on validation text", record.config.validation_tokens])
    title = f"{domain_name(record.config.forget)} tokens spent beside the budget"
    caption = (
        "Methods that use the picked part spent all of these; methods that read text, all but the decomposition's; LoRA "
        "everywhere, the last alone. Where rates were tried, the budgets of the tuning seeds come on top. Of a "
        "decomposition that goes on from another its last training is counted."
    )
    return Table.of(title, ["for", "tokens"], rows, caption)


def tokens_in_all(record: BenchRecord, method: str, budget: int, stage: str = "fitted") -> int:
    """Tokens of the text to forget behind a fit: its budget, those read before, those rate, λ and size are chosen on."""
    config, kind = record.config, kind_named(method)
    tried = record.tuning_runs.get(method, 0) > 0
    chosen = tried or len(config.weights_of(method, budget)) > 1 or (stage == "matched" and kind.trained)
    read = {"nothing": (), "text": set(record.spent) - {DECOMPOSITION}, "part": record.spent}[kind.spends]
    before = sum(record.spent[what] for what in read)
    return budget + before + tried * config.tuning_seeds * budget + chosen * config.validation_tokens


def missing_table(record: BenchRecord, rows: Sequence[FitRow]) -> Table | None:
    """How much of the grid has run, by method, at the λ that rates are chosen at and at the others; None for all of it."""
    config, shown, asked, there = record.config, list[list[object]](), 0, 0
    for method, retain in product(config.methods, config.retain):
        here = [row for row in rows if (row["method"], row["retain_set"]) == (method, retain)]
        usual = sum(row["retain_weight"] == config.weight(method, row["budget"]) for row in here)
        budgets = config.budgets_of(method)
        at_first = len(budgets) * config.seeds
        others = sum(len(config.weights_of(method, b)) for b in budgets) * config.seeds - at_first
        asked, there = asked + at_first + others, there + len(here)
        counts = f"{usual:,} of {at_first:,}", f"{len(here) - usual:,} of {others:,}" if others else None
        shown.append([method_name(method), retain, *counts])
    if there == asked:
        return None
    columns = ["method", "retain set", "at the λ of the tuning", "at other λ"]
    caption = "λ is chosen among those that most seeds have run at."
    return Table.of(f"The grid has not ended: {there:,} of {asked:,} runs are here", columns, shown, caption)


def failed_table(rows: Sequence[FitRow]) -> Table | None:
    """Runs that failed or diverged; None where all came to an end."""
    failed = {row["key"]: row for row in rows if row["status"] != "ok"}
    if not failed:
        return None
    shown = [
        [
            method_name(r["method"]),
            r["retain_set"],
            r["budget"],
            r["seed"],
            f"{r['retain_weight']:g}",
            r["status"],
            r["error_message"] or "",
        ]
        for r in failed.values()
    ]
    columns = ["method", "retain set", "tokens", "seed", "λ", "what", "why"]
    return Table.of("Runs that failed or diverged", columns, shown)
