"""Verbs of the benchmark: bench, reproduce, survive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from rankone.core.fields import Folder, Names, Positional, Request, TextName
from rankone.experiments.survival.config import SurviveReply, SurviveRequest
from rankone.opening import Opening
from rankone.recipes import Recipe
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.render.values import formatted
from rankone.runtime.progress import log
from rankone.verbs.preflight import require_job
from rankone.verbs.verb import Verb

if TYPE_CHECKING:
    from rankone.experiments.bench.run import Finished
    from rankone.experiments.bench.verdicts import Verdict
    from rankone.experiments.config import BenchConfig


class BenchRequest(Request):
    """The benchmark of a recipe: which preset of it, on which text."""

    recipe: Annotated[Recipe, Positional()] = Field(
        description="benchmark recipe: a YAML file, or one that ships, such as german"
    )
    out: Path = Field(description="folder of the benchmark; what has run there is not run again")
    preset: str | None = Field(None, description="a preset of the recipe, such as quick")
    text: Annotated[str | None, TextName()] = Field(None, description="other text than the recipe's")
    methods: Names = Field((), description="methods, instead of the recipe's")
    seeds: int | None = Field(None, gt=0, description="seeds, instead of the recipe's")
    workers: str = Field(
        "1", description="processes that share the runs; or a Ray cluster: ray, ray://HOST:PORT"
    )

    @field_validator("workers", mode="before")
    @classmethod
    def _counted(cls, value: object) -> object:
        """A number, as Python gives it."""
        return str(value) if type(value) is int else value

    @property
    def goes_on(self) -> bool:
        """What lies at `out` may stand: an interrupted benchmark goes on."""
        return True


class BenchReply(Reply):
    """What a benchmark came to: the published claims with their verdicts, and where the page is.

    tables: verdicts, then the seeds that succeed.
    """

    page: Path
    part: str
    runs: int
    failed: int
    seconds: float
    verdicts: dict[str, str]

    def lines(self) -> Sequence[str]:
        """Where the page is."""
        return (f"report: {self.page}",)


def _recipe(request: BenchRequest) -> BenchConfig:
    from rankone.experiments.config import read_recipe
    from rankone.experiments.workers.named import require_workers

    require_workers(request.workers)
    config = read_recipe(
        request.recipe,
        request.preset,
        text=request.text,
        methods=request.methods or None,
        seeds=request.seeds,
    )
    named = config.model_dump(include={"model", "decomposition", "text", "harvest", "labels"})
    require_job(named, (config.forget, config.judged))
    return config


def bench(opening: Opening, request: BenchRequest) -> BenchReply:
    """Every method of a recipe at every budget, seed and weight: tables, figures, verdicts; resumes where it stopped."""
    from rankone.experiments.bench.page import write_results
    from rankone.experiments.bench.rollouts import rollouts
    from rankone.experiments.bench.run import run_bench
    from rankone.experiments.bench.shown import successes_table, verdict_table
    from rankone.experiments.bench.summary import gathered
    from rankone.experiments.bench.tables import bench_rows, fit_rows
    from rankone.experiments.workers.named import workers_named

    config, page = _recipe(request), request.out / "index.html"

    def written(done: Finished) -> list[Verdict]:
        texts = rollouts(done.workspace, request.out, done.record.config)
        return write_results(request.out, done.record, done.outcomes, texts)

    def show(so_far: Finished) -> None:
        written(so_far)
        log.info(f"{len(so_far.outcomes):,} runs so far: {page}")

    workers = workers_named(request.workers)
    try:
        done = run_bench(config, request.out, opening.options, workers, show)
    finally:
        if workers is not None:
            workers.close()
    record, outcomes, _ = done
    verdicts = written(done)
    cells = gathered(bench_rows(outcomes, record.aim, config.cap), config.first_stage, fit_rows(outcomes))
    return BenchReply(
        page=page,
        part=record.part,
        runs=len(outcomes),
        failed=sum(outcome.status != "ok" for outcome in outcomes),
        seconds=record.seconds,
        verdicts={verdict.claim: verdict.verdict for verdict in verdicts},
    ).showing(verdict_table(verdicts), successes_table(cells, record.aim))


class ReproduceRequest(Request):
    """A saved benchmark, and how many of its runs are run again."""

    result: Annotated[
        Path, Positional(), Folder("what `rankone bench --out` made", "bench.json", "results")
    ] = Field(description="folder of a benchmark")
    runs: int = Field(8, gt=0, description="runs to repeat, spread over the grid")
    tolerance: float = Field(
        0.02, gt=0, description="largest difference allowed of a cross-entropy, nats per token"
    )


class ReproduceReply(Reply):
    """Whether the runs came out again.

    tables: one row per run.
    """

    same: bool
    changed: dict[str, str]
    ce_apart: float

    def lines(self) -> Sequence[str]:
        """The verdict, and what is not what it was."""
        said = "reproduced" if self.same else "not reproduced"
        apart = formatted(self.ce_apart)
        return (f"{said}: cross-entropies differ by at most {apart} nats per token", *self.changed.values())


def reproduce(opening: Opening, request: ReproduceRequest) -> ReproduceReply:
    """Run some of a saved benchmark's runs again and compare them within a tolerance."""
    from rankone.experiments.bench.ledger import STAGES
    from rankone.experiments.bench.reproduce import reproduce as again

    repeated = again(request.result, request.runs, request.tolerance, opening.options)
    rows = [
        [
            r.cell.method,
            r.cell.budget,
            r.cell.seed,
            r.cell.retain_weight,
            r.ce_apart,
            STAGES[r.stage],
            r.alpha_apart,
            r.same,
        ]
        for r in repeated.runs
    ]
    columns = ["method", "tokens", "seed", "λ", "CE apart", "at size", "α apart", "same"]
    return ReproduceReply(
        same=repeated.same,
        changed=repeated.changed,
        ce_apart=max((r.ce_apart for r in repeated.runs), default=0.0),
    ).showing(Table.of(f"{request.result}: run again", columns, rows))


def survive(opening: Opening, request: SurviveRequest) -> SurviveReply:
    """Attack an edit as exported: rounding, prompts, its own size refitted, training on forgotten or other text."""
    from rankone.edits.lowrank import LowRankEdit
    from rankone.experiments.survival.survive import survive as attacked

    edit = LowRankEdit.from_pretrained(request.edit)
    return attacked(opening.bare, edit, request).written_to(request.out)


VERBS = (
    Verb("bench", BenchRequest, BenchReply, bench, ("device", "dtype"), writes=("out",), recipe=_recipe),
    Verb("reproduce", ReproduceRequest, ReproduceReply, reproduce, ("device", "dtype")),
    Verb(
        "survive",
        SurviveRequest,
        SurviveReply,
        survive,
        ("model", "text", "device", "dtype"),
        writes=("out",),
    ),
)
