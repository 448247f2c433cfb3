"""The tables of a report, from those of a results directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rankone.core.artifact import file_hash
from rankone.core.escaping import clipped
from rankone.decomposition.evidence.records import Evidence, Outline
from rankone.experiments import figures
from rankone.experiments.names import method_name
from rankone.experiments.report.results import Results
from rankone.experiments.report.words import base, success_rule
from rankone.experiments.tables import (
    DAMAGE_BAR,
    IMPORTANCE,
    Row,
    Tally,
    compared_budgets,
    domains_of,
    ordered,
)
from rankone.render.columns import BAR, Column, Value
from rankone.render.tables import Table
from rankone.render.values import formatted, number
from rankone.text.domains import domain_name

_TOP, _TOKENS = 10, 4
_MET = {True: "holds", False: "misses its bar", None: "not measured"}
_ABSENT = {True: "absent", False: "present", None: "not measured"}


def printed(results: Results) -> list[Table]:
    """What a terminal shows of a job: the texts first, then the candidates, the untrained edits and every budget.

    Domains are headed by their tags, so that those that the model was trained on stand at 80 columns.
    """
    return [
        texts(results),
        candidates(results, str),
        *([untrained(results)] if results.zero_token else []),
        budgets(results),
        damages(results),
    ]


def texts(results: Results) -> Table:
    """What the model writes before and after, the domain to be removed first."""
    rows = sorted(results.rollouts, key=lambda row: row.domain != results.aim.domain)
    shown = [
        [f"{domain_name(r.domain)}: {clipped(r.prompt, 40)}", clipped(r.before, 120), clipped(r.after, 120)]
        for r in rows
    ]
    columns = ["goes on from", Column("before", key=True), Column("after", key=True)]
    return Table.of("What it writes", columns, shown, fit_shown(results))


def fit_shown(results: Results) -> str:
    """Which fit the texts are of: method, budget, seed, scale, and where it is saved."""
    fit = results.summary.shown
    if fit is None:
        return ""
    scale = "" if fit.alpha is None else f", α {formatted(fit.alpha, '.3g')}"
    text = f"{fit.budget} {domain_name(results.aim.domain)} tokens"
    return f"After: {method_name(fit.method)} fitted to {text}, seed {fit.seed}{scale}; saved in the folder {fit.edit}."


def untrained(results: Results) -> Table:
    """The rise of every domain by edits that saw no token."""
    rows = results.zero_token or []
    domains = domains_of(rows, results.aim)
    rises = {(row["edit"], row["domain"]): row["rise"] for row in rows}
    edits = dict.fromkeys(row["edit"] for row in rows)
    columns = ["edit", *(_of_domain(results, d, "+.2f") for d in domains)]
    title = f"No {domain_name(results.aim.domain)} token used: rise of cross-entropy (nats per token)"
    return Table.of(title, columns, [[e, *(rises.get((e, d)) for d in domains)] for e in edits])


def budgets(results: Results) -> Table:
    """One row per method and budget: successes, scale, CE of the removed domain, the worst of the others."""
    rows = []
    for method, budget, tally in _tallies(results):
        worst = max(tally.damage, key=lambda d: tally.damage[d], default="")
        rows.append(
            [
                *(method_name(method), budget, tally.said, tally.alpha, tally.forget_ce),
                *(tally.damage.get(worst), worst or None),
            ]
        )
    columns = [
        *("method", Column("budget", key=True), Column("success", priority=3), Column("α", priority=2)),
        Column(f"{domain_name(results.aim.domain)} CE", ".2f", priority=3),
        *(Column("worst rise", "+.2f", limit=DAMAGE_BAR), "of"),
    ]
    about = results.summary
    title = f"Forgetting {domain_name(results.aim.domain)} by {about.part} ({about.label})"
    caption = (
        f"success: {success_rule(results)}; budget in tokens; means over seeds on test text, nats per token"
    )
    return Table.of(title, columns, rows, caption)


def damages(results: Results) -> Table:
    """One row per method and budget: the rise of every other domain."""
    others = [d for d in domains_of(results.runs, results.aim) if d != results.aim.domain]
    rows = [
        [method_name(method), budget, *(tally.damage.get(d) for d in others)]
        for method, budget, tally in _tallies(results)
    ]
    limited = (replace(_of_domain(results, d, "+.2f"), limit=DAMAGE_BAR) for d in others)
    said = " ".join(f"{d} {base(results, d):.2f}" for d in (results.aim.domain, *others))
    caption = f"mean rise of CE over seeds on test text, nats per token; base CE {said}"
    return Table.of("What else changes", ["method", Column("budget", key=True), *limited], rows, caption)


def _tallies(results: Results) -> Iterator[tuple[str, int, Tally]]:
    for method in results.methods:
        for budget, tally in results.counted[method].items():
            yield method, budget, tally


def _of_domain(results: Results, domain: str, form: str) -> Column:
    """A column of one domain under its tag; one that the model was not trained on goes first where there is no room."""
    return Column(domain, form, priority=2 if domain in (results.aim.domain, *results.aim.retain) else 1)


def damage(results: Results) -> Table:
    """What the first method changes in every domain, at its smallest sufficient budget, else its largest."""
    method = results.methods[0]
    budget = results.smallest[method] or max(results.counted[method])
    tally = results.counted[method][budget]
    rises = {results.aim.domain: tally.forget_rise, **tally.damage}
    rows = [
        [domain_name(d), base(results, d), base(results, d) + rises[d], rises[d], rises[d]]
        for d in domains_of(results.runs, results.aim)
        if d in rises
    ]
    columns = [
        "domain",
        Column("CE before", ".2f"),
        Column("after", ".2f"),
        Column("rise", "+.2f"),
        Column(" ", BAR),
    ]
    trained = f"{method_name(method)}, {budget:,} {domain_name(results.aim.domain)} tokens"
    caption = f"{trained}; nats per token on test text, means over seeds."
    return Table.of("What it changes", columns, rows, caption)


def glance(results: Results) -> Table:
    """One row per method: what it needs, and what it does at the largest budget that all ran at."""
    largest = compared_budgets(results.counted)[-1]
    forget = domain_name(results.aim.domain)
    domains = [d for d in domains_of(results.runs, results.aim) if d != results.aim.domain]
    columns = [
        *("method", Column("smallest sufficient budget", ","), Column("seeds that succeed")),
        *(Column(f"{forget} CE", ".2f"), Column(f"{forget} rise", "+.2f")),
        *(Column(f"{domain_name(d)} rise", "+.2f", limit=DAMAGE_BAR) for d in domains),
    ]
    rows = []
    for method in results.methods:
        tally = results.counted[method][largest[method]]
        succeeded = f"{tally.successes} of {tally.seeds}"
        rises = (tally.damage.get(d) for d in domains)
        rows.append(
            [
                method_name(method),
                results.smallest[method],
                succeeded,
                tally.forget_ce,
                tally.forget_rise,
                *rises,
            ]
        )
    caption = (
        f"Smallest sufficient budget: {forget} tokens from which at least 8 of 9 seeds succeed. The columns after it are "
        f"of fits to this many tokens: {figures.budgets_named(largest)}. Means over seeds, nats per token. A seed succeeds "
        f"where {success_rule(results)}. Coloured: a rise of {number(DAMAGE_BAR, 1)} or more."
    )
    return Table.of("", columns, rows, caption)


def successes(results: Results) -> Table:
    """Seeds that succeed, by method and budget."""
    ran = sorted({budget for tallies in results.counted.values() for budget in tallies})
    rows = []
    for method in results.methods:
        tallies = [results.counted[method].get(b) for b in ran]
        rows.append([method_name(method), *(t and t.said for t in tallies)])
    return Table.of("", ["seeds that succeed, by budget", *(f"{b:,}" for b in ran)], rows)


def candidates(results: Results, name: Callable[[str], str] = domain_name) -> Table:
    """The best-ranked parts, each domain shaded by mean causal importance, under its `name`."""
    ranked = sorted(results.parts, key=lambda row: row["rank"])[:_TOP]
    columns: list[Row] = [*ranked]
    named = [key.removeprefix(IMPORTANCE) for key in columns[0] if key.startswith(IMPORTANCE)]
    domains = ordered(named, results.aim)
    rows = [
        [
            ("▸\u00a0" if r["picked"] else "") + r["part"],
            r["label"],
            *(column[IMPORTANCE + d] for d in domains),
            tuple(r["firing_tokens"][:_TOKENS]),
            tuple(r["output_tokens"][:_TOKENS]),
        ]
        for r, column in zip(ranked, columns, strict=True)
    ]
    titles = [
        *("part", Column("label", priority=3)),
        *(replace(_of_domain(results, d, ".2f"), name=name(d), shade=True) for d in domains),
        *(Column("fires on", priority=0), Column("leads to", priority=0)),
    ]
    caption = (
        "By rank. Under each domain: mean causal importance, 0 to 1. Label: statistical, from this job's small harvest of "
        "training text; labels of a longer one (rankone harvest, rankone label) may say it in other words. ▸ the picked one."
    )
    return Table.of("", titles, rows, caption, [i for i, r in enumerate(ranked) if r["picked"]])


def maskings(evidence: Outline) -> Table:
    """CE and KL of the decomposed model under each masking."""
    rows = [[row.title, row.delta, row.ce, row.kl] for row in evidence.rows]
    columns = ["masking", "delta kept", Column("CE", ".2f"), Column("KL to the target", ".2f")]
    return Table.of("", columns, rows, "Nats per token.")


def layers(evidence: Outline) -> Table | None:
    """What is alive and needed in each layer, if it was measured."""
    rows = [[row.layer, row.l0, row.alive, row.subcomponents] for row in evidence.per_layer]
    return Table.of("", ["layer", Column("L0", ".1f"), "alive", "subcomponents"], rows) if rows else None


def verdict(evidence: Outline) -> Table | None:
    """The four properties and the known failures, each with its bar, if the evidence has a verdict."""
    if not isinstance(evidence, Evidence):
        return None
    rows = [[f.name.words, _MET[f.met], f.said, f.bar] for f in evidence.verdict.properties]
    rows += [[f.name.words, _ABSENT[f.met], f.said, f.bar] for f in evidence.verdict.failures]
    return Table.of("", ["property or failure", "verdict", "measured", "bar"], rows)


def provenance(results: Results) -> Table:
    """Where the numbers come from: versions, settings, hashes of the tables; no path of the machine."""
    facts, summary = dict[str, object](), results.summary
    if summary.seconds is not None:
        facts["time"] = f"{summary.seconds:.0f} s"
    if summary.peak_memory_bytes is not None:
        facts["peak memory"] = f"{summary.peak_memory_bytes / 1e9:.1f} GB"
    facts |= summary.provenance
    rows = [list(pair) for pair in _flat(facts)]
    rows += [[f"SHA-256 of {p.name}", file_hash(p)] for p in _sources(results.directory)]
    return Table.of("", ["what", "value"], rows)


def _flat(value: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, Value]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _plain(inner)


def _plain(value: object) -> str:
    if isinstance(value, str):
        return Path(value).name if Path(value).is_absolute() else value
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _sources(directory: Path) -> list[Path]:
    return sorted(
        p for p in directory.iterdir() if p.suffix in (".parquet", ".json") and p.name != "manifest.json"
    )
