"""The demo: the whole job on the built-in model with progress, saved tables, a summary and the report."""

from __future__ import annotations

import time
from pathlib import Path

from rankone.core.artifact import environment, write_json
from rankone.edits.fitting.run import Fit, Run, describe
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.registry import kind_named
from rankone.experiments.config import read_measured
from rankone.experiments.job import Job
from rankone.experiments.measure import edit_damage, edited_cross_entropies
from rankone.experiments.report.page import write_report
from rankone.experiments.report.place import EDIT, report_folder
from rankone.experiments.report.results import JobSummary, Shown
from rankone.experiments.response import rises, scale_response
from rankone.experiments.tables import (
    RESPONSE,
    RUNS,
    ZERO_TOKEN,
    EditRow,
    ResponseRow,
    RunRow,
    parts_schema,
    smallest_budget,
    summarise_runs,
    write_table,
)
from rankone.metrics.cross_entropy import cross_entropies
from rankone.metrics.damage_record import DomainDamage, measured
from rankone.models.loading import load_model
from rankone.runtime.memory import peak_bytes
from rankone.runtime.progress import log, meter
from rankone.text.blocks import Blocks
from rankone.text.corpus import described
from rankone.text.domains import domain_name


def run_demo(job: Job, out: Path, replace: bool = False) -> JobSummary:
    """Run the job, write all tables and the report, which appear at `out` together at the end, and return the summary.

    Text, harvest and whatever else is named are read first, so that what is lacking is said before anything is computed.
    replace: `out` may stand, and its report is exchanged.
    """
    with report_folder(out, replace) as staging:
        return _run(job, staging)


def _run(job: Job, out: Path) -> JobSummary:
    """The same into an empty folder."""
    clock = time.monotonic()
    runs = {method: job.runs(method) for method in job.config.budgets}
    test = job.text("test", job.config.test_tokens)
    reference = _reference(job, test)
    _rank(job, out)
    base = cross_entropies(job.workspace.model, test)
    rows, fits = _fit_and_measure(job, runs, test, base)
    write_table(out / "runs.parquet", rows, RUNS)
    _response(job, test, base, out)
    _zero_token(job, test, base, reference, out)
    if job.evidence is not None:
        write_json(out / "evidence.json", job.evidence.plain(), constants=True)
    method, fit = _shown(fits)
    write_json(out / "rollouts.json", [dict(rollout) for rollout in job.rollouts(fit.edit)])
    _save_edit(job, fit.edit, test, out / EDIT)
    shown = Shown(
        method=method,
        budget=fit.run.forget.tokens,
        seed=fit.run.seed,
        alpha=_alpha(method, fit),
        edit=EDIT,
    )
    summary = _summary(job, rows, base, time.monotonic() - clock, shown)
    write_json(out / "summary.json", summary.model_dump(mode="json", exclude_none=True))
    write_report(out)
    return summary


def _save_edit(job: Job, edit: LowRankEdit, test: dict[str, Blocks], path: Path) -> None:
    changes = edit_damage(job.workspace.model, edit, test)
    rows = [DomainDamage.of(d, damage, job.judged.role(d)) for d, damage in changes.items()]
    edit.bind(job.workspace.model).save_pretrained(path, measured(rows))


def _rank(job: Job, out: Path) -> None:
    log.info(f"looking into {job.workspace.require_parts().total:,} parts on training text")
    write_table(out / "parts.parquet", job.part_rows(), parts_schema(job.importances.domains))


def _fit_and_measure(
    job: Job, runs: dict[str, list[Run]], test: dict[str, Blocks], base: dict[str, float]
) -> tuple[list[RunRow], dict[str, list[Fit]]]:
    rows: list[RunRow] = []
    fitted: dict[str, list[Fit]] = {}
    for method, planned in runs.items():
        with meter(f"fit {method}", job.fit_steps(method, planned)) as bar:
            fitted[method] = job.fit(method, planned, bar)
        with meter(f"measure {method}", len(planned)) as bar:
            for fit in fitted[method]:
                rows += fit_rows(
                    job, method, fit, base, edited_cross_entropies(job.workspace.model, fit.edit, test)
                )
                bar.advance(1)
    return rows, fitted


def fit_rows(
    job: Job, method: str, fit: Fit, base: dict[str, float], edited: dict[str, float]
) -> list[RunRow]:
    """Rows of `runs.parquet` for one fit."""
    alpha = _alpha(method, fit)
    return [
        RunRow(method=method, alpha=alpha, role=job.judged.role(row["domain"]), **describe(fit), **row)
        for row in rises(base, edited)
    ]


def _response(job: Job, test: dict[str, Blocks], base: dict[str, float], out: Path) -> None:
    name, alphas = job.pick, job.config.alphas
    with meter("scale response", len(alphas)) as bar:
        rows = scale_response(job.workspace, [name], alphas, test, base, bar)
    write_table(out / "response.parquet", [ResponseRow(part=name, **row) for row in rows], RESPONSE)


def _zero_token(
    job: Job, test: dict[str, Blocks], base: dict[str, float], reference: dict[str, float], out: Path
) -> None:
    rows: list[EditRow] = []
    for label, edit in job.zero_token_edits().items():
        rows += [
            EditRow(edit=label, **row)
            for row in rises(base, edited_cross_entropies(job.workspace.model, edit, test))
        ]
    if reference:
        rows += [
            EditRow(edit=f"pretrained without {domain_name(job.config.forget)}", **row)
            for row in rises(base, reference)
        ]
    write_table(out / "zero_token.parquet", rows, ZERO_TOKEN)


def _reference(job: Job, test: dict[str, Blocks]) -> dict[str, float]:
    """CE of the model trained without the forget domain: measured now, or read if it was measured on this very text."""
    name = job.config.reference
    if name is None:
        return {}
    if not name.endswith(".json"):
        return cross_entropies(load_model(name).to(job.workspace.device), test)  # pyright: ignore[reportArgumentType]
    measured = read_measured(Path(name))
    here = (job.workspace.corpus.fingerprint(), "test", job.config.test_tokens)
    if (measured.text.fingerprint, measured.split, measured.tokens) != here:
        log.info(f"the reference was measured on other text ('{measured.text.name}'): left out")
        return {}
    return {d: measured.ce[d] for d in test if d in measured.ce}


def _alpha(method: str, fit: Fit) -> float | None:
    return float(fit.parameters["alpha"][0]) if kind_named(method).one_scale else None


def _shown(fits: dict[str, list[Fit]]) -> tuple[str, Fit]:
    """Method and fit whose texts are shown: the first seed of the single scalar at the smallest budget from 4 tokens on."""
    method = "scalar" if "scalar" in fits else next(iter(fits))
    budgets = sorted({fit.run.forget.tokens for fit in fits[method]})
    budget = next((b for b in budgets if b >= 4), budgets[-1])
    return method, next(fit for fit in fits[method] if fit.run.forget.tokens == budget)


def _summary(
    job: Job, rows: list[RunRow], base: dict[str, float], seconds: float, shown: Shown
) -> JobSummary:
    tallies = summarise_runs(rows, job.judged)
    config = {"text": described(job.workspace.corpus), "config": job.config.model_dump(mode="json")}
    return JobSummary(
        aim=job.judged,
        base=base,
        part=job.pick,
        label=job.labels.best(job.pick).label,
        methods=tallies,
        smallest_budget=smallest_budget(tallies),
        provenance={**environment(), **config},
        seconds=seconds,
        peak_memory_bytes=peak_bytes(),
        shown=shown,
    )
