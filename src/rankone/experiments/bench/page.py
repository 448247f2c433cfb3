"""The folder's tables, figures and page, drawn from its runs: nothing is computed here that the tables do not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from matplotlib.figure import Figure
from pydantic import JsonValue

from rankone.core.artifact import write_json, write_text
from rankone.experiments.bench.figures import (
    PANELS,
    csv_of,
    drawn,
    frontier,
    means_of,
    panel_rows,
    shares_of,
    success_csv,
)
from rankone.experiments.bench.ledger import STAGES, Outcome
from rankone.experiments.bench.rollouts import shown_setting
from rankone.experiments.bench.run import BenchRecord
from rankone.experiments.bench.shown import (
    accounts_table,
    damage_table,
    failed_table,
    missing_table,
    rates_table,
    successes_table,
    tokens_in_all,
    verdict_table,
)
from rankone.experiments.bench.summary import SUMMARY, Cellwise, by_stage, summary_rows
from rankone.experiments.bench.tables import (
    BENCH,
    FITS,
    BenchRow,
    FitRow,
    bench_rows,
    fit_rows,
)
from rankone.experiments.bench.verdicts import Cells, Verdict, judge
from rankone.experiments.figures import success_by_tokens, trade_off
from rankone.experiments.measure import Rollout
from rankone.experiments.names import method_name
from rankone.experiments.tables import write_table
from rankone.render.figures import Drawing, drawing
from rankone.render.pages import rendered
from rankone.text.domains import domain_name

ROLLOUTS = "rollouts.json"


def write_results(
    out: Path, record: BenchRecord, outcomes: Sequence[Outcome], rollouts: Mapping[str, Sequence[Rollout]]
) -> list[Verdict]:
    """Write the tables, `rollouts.json`, figures with their CSV, and `index.html`; the verdicts of the first retain set."""
    aim, fits = record.aim, fit_rows(outcomes)
    write_table(out / "fits.parquet", fits, FITS)
    measured = bench_rows(outcomes, aim, record.config.cap)
    texts = {method: [dict(row) for row in written] for method, written in rollouts.items()}
    write_json(out / ROLLOUTS, texts)
    if measured:
        write_table(out / "bench.parquet", measured, BENCH)
        write_table(out / "summary.parquet", summary_rows(measured, aim, fits), SUMMARY)
    cells = by_stage(measured, fits)
    verdicts = verdicts_of(record, measured, cells, rollouts)
    said = {name: [verdict.plain() for verdict in judged] for name, judged in verdicts.items()}
    write_json(out / "verdicts.json", said, constants=True)
    write_text(out / "index.html", _page(out, record, fits, measured, cells, verdicts, rollouts))
    return next(iter(verdicts.values()), [])


def verdicts_of(
    record: BenchRecord,
    rows: Sequence[BenchRow],
    cells: Mapping[str, Sequence[Cellwise]],
    rollouts: Mapping[str, Sequence[Rollout]],
) -> dict[str, list[Verdict]]:
    """By retain set; where fits were brought to a size too, `SET, sized by the rule` and so on as well, but for rollouts."""
    sets, known, first = record.config.retain, record.config.trained, record.config.first_stage
    left = _left_by_shown(record, rows)
    verdicts = {
        name: judge(Cells(cells.get(first, ()), name, record.aim, known), rollouts, left) for name in sets
    }
    for stage, name in product([s for s in cells if s != first], sets):
        judged = judge(Cells(cells[stage], name, record.aim, known), {})
        verdicts[f"{name}, {STAGES[stage]}"] = [v for v in judged if v.verdict != "not asked"]
    return verdicts


def _left_by_shown(record: BenchRecord, rows: Sequence[BenchRow]) -> float | None:
    """Cross-entropy of the text to forget under the scalar's edit that is shown, on test text."""
    config = record.config
    looked_for = ("scalar", *shown_setting(config, "scalar"), config.forget, config.first_stage)
    columns = ("method", "seed", "budget", "retain_weight", "retain_set", "domain", "stage")
    return next((row["ce"] for row in rows if tuple(row[c] for c in columns) == looked_for), None)


def _said(fact: JsonValue) -> str:
    return ", ".join(f"{k} {v}" for k, v in fact.items()) if isinstance(fact, dict) else str(fact)


def _page(
    out: Path,
    record: BenchRecord,
    fits: Sequence[FitRow],
    measured: Sequence[BenchRow],
    cells: Mapping[str, Sequence[Cellwise]],
    verdicts: Mapping[str, Sequence[Verdict]],
    rollouts: Mapping[str, Sequence[Rollout]],
) -> str:
    forget = domain_name(record.config.forget)
    sections = [
        {
            "id": f"{name}-{stage}",
            "title": f"Retained: {', '.join(map(domain_name, record.config.retain[name]))}; {STAGES[stage]}",
            "tables": [successes_table(of_set, record.aim), damage_table(of_set, record.aim)],
            "figures": _figures(out, measured, record, name, stage, of_set),
        }
        for stage, of_stage in cells.items()
        for name, of_set in _by_retain_set(of_stage).items()
    ]
    return rendered(
        "bench.html",
        title=f"RankOne: methods that remove {forget}, beside each other",
        part=f"The part: {record.part} ({record.label}).",
        missing=missing_table(record, fits),
        verdicts=[(name, verdict_table(written)) for name, written in verdicts.items()],
        sections=sections,
        rates=rates_table(record),
        accounts=accounts_table(record),
        failed=failed_table(fits),
        rollouts=[
            (method_name(method), [{**dict(row), "name": domain_name(row.domain)} for row in written])
            for method, written in rollouts.items()
        ],
        sides=(("before", "before"), ("after", "after")),
        facts=[(key, _said(value)) for key, value in {**record.identities, **record.provenance}.items()],
    )


def _by_retain_set(cells: Sequence[Cellwise]) -> dict[str, list[Cellwise]]:
    by_set: dict[str, list[Cellwise]] = {}
    for cell in cells:
        by_set.setdefault(cell.retain_set, []).append(cell)
    return by_set


def _figures(
    out: Path,
    rows: Sequence[BenchRow],
    record: BenchRecord,
    retain_set: str,
    stage: str,
    cells: Sequence[Cellwise],
) -> list[Drawing]:
    """The published figures whose methods all ran, each beside the CSV of what it draws, and the frontier of all methods."""
    made, means, shares = list[Drawing](), means_of(cells), shares_of(cells, record.aim)
    ran = {r["method"] for r in rows if (r["retain_set"], r["stage"]) == (retain_set, stage)}
    for name, panel in PANELS.items():
        if set(panel.methods) <= ran:
            chosen = panel_rows(rows, panel, retain_set, stage)
            figure = drawn(chosen, panel, record.aim, means, shares)
            file, about = f"{name}-{retain_set}-{stage}", f"{name}: {panel.about}."
            held = csv_of(file, chosen, means, shares if panel.kind == "off-target" else None)
            made.append(_saved(out, file, figure, held, about))
    in_all = {at: tokens_in_all(record, *at, stage) for at in shares}
    figure = success_by_tokens(shares, record.aim, in_all)
    name, about = (
        f"success-{retain_set}-{stage}",
        "Seeds that succeed, by tokens that fits saw and by all that were spent.",
    )
    made.append(_saved(out, name, figure, success_csv(shares, in_all), about))
    fitted = [method for method in record.config.methods if method in ran]
    shared = frontier(rows, fitted, retain_set, stage)
    if shared:
        name = f"frontier-{retain_set}-{stage}"
        figure = trade_off(shared, record.aim, means)
        made.append(_saved(out, name, figure, csv_of(name, shared, means), "All methods, every weight λ."))
    return made


def _saved(out: Path, name: str, figure: Figure, held: str, about: str) -> Drawing:
    """The figure as SVG, and what it draws as CSV."""
    made = drawing(figure, name, about, about)
    write_text(out / "figures" / f"{name}.svg", made.file)
    write_text(out / "figures" / f"{name}.csv", held)
    return made
