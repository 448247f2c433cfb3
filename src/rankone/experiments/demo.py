"""The demo: a benchmark with one retain set that becomes a report, beside what its part does untrained."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rankone.core.artifact import environment, write_json
from rankone.core.errors import RankOneError
from rankone.core.schemas.evidence import FILE
from rankone.decomposition.evidence.records import read_outline
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.scales import scale_edit
from rankone.edits.selection import specific_names
from rankone.experiments.bench.figures import run_rows
from rankone.experiments.bench.rollouts import continued, saved_edits, shown_cell
from rankone.experiments.bench.run import Benchmark, ran
from rankone.experiments.bench.tables import bench_rows
from rankone.experiments.config import DemoConfig, read_measured
from rankone.experiments.job import Job
from rankone.experiments.measure import edited_cross_entropies
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
from rankone.models.loading import load_model
from rankone.opening import OpenOptions
from rankone.render.values import formatted
from rankone.runtime.memory import peak_bytes
from rankone.runtime.progress import log, meter
from rankone.runtime.scratch import scratch
from rankone.text.blocks import Blocks
from rankone.text.corpus import described
from rankone.text.domains import domain_name
from rankone.workspace import Workspace

Base = Mapping[str, float]


def run_demo(
    config: DemoConfig, out: Path, replace: bool = False, computed: OpenOptions | None = None
) -> JobSummary:
    """Run it, write all tables and the report, which appear at `out` together at the end, and return the summary.

    Text, harvest and whatever else is named are read first, so that what is lacking is said before anything is fitted.
    replace: `out` may stand, and its report is exchanged. computed: on which device and in which numbers.
    """
    benchmark = Benchmark(config, computed)
    with report_folder(out, replace) as staging:
        return _run(benchmark, staging)


def _run(benchmark: Benchmark, out: Path) -> JobSummary:
    """The same of a demo's benchmark into an empty folder."""
    clock = time.monotonic()
    config, job = benchmark.config, benchmark.pick
    assert isinstance(config, DemoConfig)
    benchmark.require_text(range(config.seeds))
    test = {domain: base.blocks for domain, base in benchmark.texts["test"].items()}
    reference = _reference(benchmark.workspace, config, test)
    log.info(f"looking into {job.workspace.require_parts().total:,} parts on training text")
    write_table(out / "parts.parquet", job.part_rows(), parts_schema(job.importances.domains))
    shown, rows = _fitted(benchmark, out)
    base = {row["domain"]: row["ce_base"] for row in rows}
    _response(job, config.alphas, test, base, out)
    write_table(
        out / "zero_token.parquet", _zero_token(job, config.probe_scale, test, base, reference), ZERO_TOKEN
    )
    artifact = benchmark.opening.decomposition_artifact
    if FILE in artifact:
        evidence = read_outline(artifact.json(FILE), str(artifact.path / FILE))
        write_json(out / "evidence.json", evidence.plain(), constants=True)
    summary = _summary(benchmark, rows, base, time.monotonic() - clock, shown)
    write_json(out / "summary.json", summary.model_dump(mode="json", exclude_none=True))
    write_report(out)
    return summary


def _fitted(benchmark: Benchmark, out: Path) -> tuple[Shown, list[RunRow]]:
    """Run the benchmark; its table, the edit that is shown and what is written with it go to `out`."""
    config = benchmark.config
    with scratch("demo") as folder:
        outcomes = ran(benchmark, folder, whole=True).outcomes
        rows = run_rows(bench_rows(outcomes, benchmark.judged, config.cap))
        write_table(out / "runs.parquet", rows, RUNS)
        edits = saved_edits(folder, config)
        if not edits:
            raise RankOneError(f"there is no edit to show: {', '.join(config.methods)} change no weights.")
        method = "scalar" if "scalar" in edits else next(iter(edits))
        shutil.copytree(edits[method], out / EDIT)
    texts = continued(benchmark.workspace, out / EDIT, config.prompts)
    write_json(out / "rollouts.json", [dict(row) for row in texts])
    (fit,) = (o for o in outcomes if o.cell.method == method and shown_cell(config, o.cell))
    alpha = None if fit.first is None else fit.first.alpha
    shown = Shown(method=method, budget=fit.cell.budget, seed=fit.cell.seed, alpha=alpha, edit=EDIT)
    return shown, rows


def _response(job: Job, alphas: Sequence[float], test: Mapping[str, Blocks], base: Base, out: Path) -> None:
    with meter("scale response", len(alphas)) as bar:
        rows = scale_response(job.workspace, [job.pick], alphas, test, base, bar)
    write_table(out / "response.parquet", [ResponseRow(part=job.pick, **row) for row in rows], RESPONSE)


def _zero_token(
    job: Job, probe: float, test: Mapping[str, Blocks], base: Base, reference: Base
) -> list[EditRow]:
    model = job.workspace.model
    edited = {label: edited_cross_entropies(model, edit, test) for label, edit in untrained_edits(job, probe)}
    if reference:
        edited[f"pretrained without {domain_name(job.config.forget)}"] = dict(reference)
    return [EditRow(edit=label, **row) for label, ces in edited.items() for row in rises(base, ces)]


def untrained_edits(job: Job, probe: float) -> Iterator[tuple[str, LowRankEdit]]:
    """Edits that need no forget token to fit: deletion of all specific subcomponents, and of the pick, and a probe scale."""
    parts, forget = job.workspace.require_parts(), job.config.forget
    for ratio in (100.0, 10.0):
        if names := specific_names(job.importances, forget, ratio):
            label = f"α = 0 on the {len(names)} over {ratio:.0f} times as important on {domain_name(forget)}"
            yield label, scale_edit(parts, dict.fromkeys(names, 0.0))
    for alpha in (0.0, probe):
        yield f"α = {formatted(alpha, 'g')} on {job.pick}", scale_edit(parts, {job.pick: alpha})


def _reference(space: Workspace, config: DemoConfig, test: Mapping[str, Blocks]) -> dict[str, float]:
    """CE of the model trained without the forget domain: measured now, or read if it was measured on this very text."""
    name = config.reference
    if name is None:
        return {}
    if not name.endswith(".json"):
        return cross_entropies(load_model(name).to(space.device), test)  # pyright: ignore[reportArgumentType]
    measured = read_measured(Path(name))
    here = (space.corpus.fingerprint(), "test", config.test_tokens)
    if (measured.text.fingerprint, measured.split, measured.tokens) != here:
        log.info(f"the reference was measured on other text ('{measured.text.name}'): left out")
        return {}
    return {d: measured.ce[d] for d in test if d in measured.ce}


def _summary(
    benchmark: Benchmark, rows: Sequence[RunRow], base: Base, seconds: float, shown: Shown
) -> JobSummary:
    job, judged = benchmark.pick, benchmark.judged
    tallies = summarise_runs(rows, judged)
    text, config = described(benchmark.workspace.corpus), benchmark.config.model_dump(mode="json")
    return JobSummary(
        aim=judged,
        base=dict(base),
        part=job.pick,
        label=job.labels.best(job.pick).label,
        methods=tallies,
        smallest_budget=smallest_budget(tallies),
        provenance={**environment(), "text": text, "config": config},
        seconds=seconds,
        peak_memory_bytes=peak_bytes(),
        shown=shown,
    )
