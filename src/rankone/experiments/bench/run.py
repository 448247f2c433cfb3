"""A benchmark from its recipe to its folder: rates chosen, the grid run, tables, rollouts, figures and the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, JsonValue

from rankone.core.artifact import environment, open_artifact, read_json, write_json
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.manifest import hashed_files
from rankone.edits.fitting.aim import Aim
from rankone.edits.lowrank import LowRankEdit
from rankone.experiments.bench.cells import Cell, Purpose, facts_of, grid_cells, tuning_cells
from rankone.experiments.bench.choice import best_rates
from rankone.experiments.bench.ledger import Ledger, Outcome
from rankone.experiments.bench.measuring import Base, base_of, damage_of
from rankone.experiments.bench.rollouts import EDITS, shown_cell
from rankone.experiments.bench.stack import Bench
from rankone.experiments.bench.work import Made, Setup, Work, Workers, stacks
from rankone.experiments.config import BenchConfig
from rankone.experiments.job import Job, spent
from rankone.experiments.requests import Rate
from rankone.metrics.damage_record import measured
from rankone.opening import Opening, OpenOptions
from rankone.runtime.progress import log, meter
from rankone.text.corpus import described
from rankone.workspace import Workspace

RUNS, RECORD = "runs", "bench.json"
# Under which a saved edit says of which run it is.
RUN = "run"
# Between two showings of what has run pass so many times the seconds that one takes, and at least so many seconds.
SHOWING_COSTS, SECONDS_APART = 50, 60.0


class BenchRecord(Config):
    """`bench.json`: what was asked, on what it ran, what was picked and which rates were chosen.

    rates: by method, retain set and budget. identities: hashes of model, decomposition and text, and the pick.
    spent: tokens of the text to forget that were used before any fit, by purpose; of the decomposition those of its last
    training, where it says what it read.
    """

    config: BenchConfig
    aim: Aim
    identities: dict[str, JsonValue]
    part: str
    label: str
    rates: dict[str, dict[str, dict[int, Rate]]]
    tuning_runs: dict[str, int]
    spent: dict[str, int]
    provenance: Mapping[str, JsonValue] = Field(default_factory=dict)
    seconds: float = 0.0


class Benchmark:
    """A configuration with everything it needs opened; nothing is computed before it is asked for.

    computed: on which device and in which numbers. config: without the domains that its text lacks.
    """

    def __init__(self, config: BenchConfig, computed: OpenOptions | None = None) -> None:
        named = {
            "model": config.model,
            "decomposition": config.decomposition,
            "text": config.text,
            **(computed or OpenOptions()).model_dump(include={"device", "dtype"}),
        }
        self.opening = Opening(OpenOptions.checked(named, "bench"))
        available = self.opening.corpus.domains()
        self.config = config.on_domains(available)
        if left_out := sorted({*config.trained, *config.evaluated} - set(available)):
            log.info(f"'{config.text}' has no text for {', '.join(left_out)}: not looked at")
        self._jobs: dict[str, Job] = {}
        self._benches: dict[tuple[str, str, bool], Bench] = {}

    @property
    def workspace(self) -> Workspace:
        """Model, tokenizer, text and parts."""
        return self.opening.workspace

    def job(self, retain: str) -> Job:
        """The job of a retain set; all of them share one harvest and one pick."""
        if retain not in self._jobs:
            made = Job(self.config, self.workspace, retain)
            first = self.config.pick_retain
            if retain != first:
                made.__dict__["store"] = self.job(first).store
                made.__dict__["tried"] = self.job(first).tried
            self._jobs[retain] = made
        return self._jobs[retain]

    @property
    def pick(self) -> Job:
        """The job the part was picked by."""
        return self.job(self.config.pick_retain)

    @cached_property
    def judged(self) -> Aim:
        """What every result is judged by."""
        return self.pick.judged

    @cached_property
    def identities(self) -> dict[str, JsonValue]:
        """Hashes of what everything is computed from, and the picked part."""
        space = self.workspace
        return {
            "decomposition": self.opening.decomposition_artifact.fingerprint,
            "text": space.corpus.fingerprint(),
            "model": _model_identity(self.opening),
            "numbers": self.opening.options.dtype,
            "part": self.pick.pick,
            **({} if self.config.harvest is None else {"harvest": self.pick.store.artifact.fingerprint}),
            **(
                {} if self.config.labels is None else {"labels": dict(hashed_files(Path(self.config.labels)))}
            ),
            **({} if self.config.sae is None else {"sae": dict(hashed_files(Path(self.config.sae)))}),
        }

    @cached_property
    def texts(self) -> dict[str, dict[str, Base]]:
        """Validation and test text with the unchanged model's losses."""
        config, space = self.config, self.workspace
        validated = tuple(dict.fromkeys((config.forget, config.judged)))
        asked = {
            "validation": (validated, config.validation_tokens),
            "test": (config.evaluated, config.test_tokens),
        }
        return {
            split: {d: base_of(space, space.blocks(d, split, tokens)) for d in domains}
            for split, (domains, tokens) in asked.items()
        }

    def require_text(self, seeds: Iterable[int]) -> None:
        """RankOneError where there is too little to forget for these seeds."""
        budgets = {b for method in self.config.methods for b in self.config.budgets_of(method)}
        for budget, seed in product(sorted(budgets), seeds):
            self.pick.forget_text(budget, seed)

    def bench(self, method: str, retain: str, grid: bool) -> Bench:
        """A method under a retain set; in tuning it sees no test text."""
        key = (method, retain, grid)
        if key not in self._benches:
            texts = self.texts if grid else {"validation": self.texts["validation"]}
            self._benches = {key: Bench(self.job(retain), method, texts)}
        return self._benches[key]

    def do(self, work: Work) -> Made:
        """Fit and measure a stack; in tuning it sees no test text."""
        (method, retain), grid = work.of, work.purpose == "grid"
        bench = self.bench(method, retain, grid)
        asked = self.config.sized if grid or self.config.sized == "only" else False
        outcomes = bench.run(work.cells, work.keys, asked)
        shown = (o for o in outcomes if grid and o.first is not None and shown_cell(self.config, o.cell))
        fits = (bench.fits[o.cell] for o in shown if bench.kind.weights and o.cell in bench.fits)
        return Made(outcomes, next((fit.edit.bind(self.workspace.model) for fit in fits), None))

    def setup(self, threads: int = 1) -> Setup:
        """What others open it by, to do stacks of it as it does itself."""
        pick = self.pick
        options = self.opening.options
        harvest = pick.store.artifact.path
        return Setup(
            config=self.config, options=options, tried=tuple(pick.tried), harvest=harvest, threads=threads
        )


class Grid:
    """The runs of a benchmark, those that lie in its folder left out.

    whole: a run that fails, or in the grid diverges, ends it with RankOneError; else a warning says so.
    """

    def __init__(
        self, benchmark: Benchmark, out: Path, workers: Workers | None = None, whole: bool = False
    ) -> None:
        self.benchmark, self.config = benchmark, benchmark.config
        self.out, self.ledger, self.workers, self.whole = out, Ledger(out / RUNS), workers, whole

    def rates(self) -> dict[str, dict[str, dict[int, Rate]]]:
        """The rate of every method, retain set and budget, by the mean score of its runs on validation text."""
        config = self.config
        cells = [c for m in config.methods for r in config.retain for c in tuning_cells(config, m, r)]
        outcomes = self.outcomes(cells, "tuning", "choose rates")
        best = best_rates(outcomes, self.benchmark.judged, config.cap)
        return {
            m: {
                r: {b: best.get((m, r, b)) or config.rate(m, b) for b in config.budgets_of(m)}
                for r in config.retain
            }
            for m in config.methods
        }

    def runs(
        self,
        rates: Mapping[str, Mapping[str, Mapping[int, Rate]]],
        show: Callable[[list[Outcome]], None] | None = None,
    ) -> list[Outcome]:
        """All runs of the grid; show: is given what has run, now and again and where the grid is broken off."""
        cells: list[Cell] = []
        for method in self.config.methods:
            for retain in self.config.retain:
                cells += grid_cells(self.config, method, retain, rates[method][retain])
        return self.outcomes(cells, "grid", "runs", show)

    def outcomes(
        self,
        cells: Sequence[Cell],
        purpose: Purpose,
        what: str,
        show: Callable[[list[Outcome]], None] | None = None,
    ) -> list[Outcome]:
        """The outcome of every cell: there in the ledger, or run now, a stack at a time; show: as of `runs`."""
        if not cells:
            return []
        identities = self.benchmark.identities
        facts = {r: facts_of(self.config, r, identities, purpose) for r in self.config.retain}
        keys = [cell.key(facts[cell.retain]) for cell in cells]
        there = {key: outcome for key in keys if (outcome := self.ledger.find(key)) is not None}
        finished = {key: outcome for key, outcome in there.items() if self._shows(outcome)}
        left = [(cell, key) for cell, key in zip(cells, keys, strict=True) if key not in finished]
        works = list(stacks(left, self.config, purpose, self.workers is not None))
        shown = _Shown(show, lambda: [finished[key] for key in keys if key in finished])
        with meter(what, len(cells)) as bar, shown.at_a_break():
            bar.advance(len(cells) - len(left))
            for work, made in self._done(works):
                if made.edit is not None:
                    self._save(made, made.edit)
                for outcome in made.outcomes:
                    self.ledger.add(outcome)
                    finished[outcome.key] = outcome
                self._say_failures(work, made.outcomes)
                bar.advance(len(made.outcomes), ", ".join(work.of))
                shown.now_and_again()
        return [finished[key] for key in keys]

    def _say_failures(self, work: Work, outcomes: Sequence[Outcome]) -> None:
        """What went wrong with runs that have just ended; in tuning a rate that diverges is one that is not chosen."""
        looked_for = ("failed", "diverged") if work.purpose == "grid" else ("failed",)
        for why, runs in _by_reason(outcomes, looked_for).items():
            if self.whole:
                raise RankOneError(why)
            log.warning(f"{', '.join(work.of)}: {runs} of {len(outcomes)} runs failed or diverged: {why}")

    def _done(self, works: Sequence[Work]) -> Iterator[tuple[Work, Made]]:
        if self.workers is None or not works:
            return ((work, self.benchmark.do(work)) for work in works)
        return self.workers.results(self.benchmark.setup(), works)

    def _save(self, made: Made, edit: LowRankEdit) -> None:
        """Keep the edit that is shown before its run counts as finished."""
        (outcome,) = (o for o in made.outcomes if shown_cell(self.config, o.cell))
        assert outcome.first is not None
        rows = [damage_of(d, one, self.benchmark.judged.role(d)) for d, one in outcome.first.test.items()]
        about = {RUN: outcome.key, **measured(rows)}
        edit.save_pretrained(self.out / EDITS / outcome.cell.method, about, replace=True)

    def _shows(self, outcome: Outcome) -> bool:
        """Whether the edit of a finished run, if it is to be shown, lies here: not that of a run of another setting."""
        path = self.out / EDITS / outcome.cell.method
        if outcome.first is None or not shown_cell(self.config, outcome.cell) or not path.is_dir():
            return True
        # Edits that an older version saved do not say of which run they are.
        return open_artifact(path).provenance.get(RUN, outcome.key) == outcome.key


class _Shown:
    """Shows what has run of a grid that is still running, so that it takes little of the time."""

    def __init__(
        self, show: Callable[[list[Outcome]], None] | None, finished: Callable[[], list[Outcome]]
    ) -> None:
        self._show, self._finished = show, finished
        self._next = time.monotonic() + SECONDS_APART

    def now_and_again(self) -> None:
        """Where it has been long enough."""
        if time.monotonic() >= self._next:
            self._again()

    @contextmanager
    def at_a_break(self) -> Iterator[None]:
        """Where the block is interrupted, or RankOne ends it, before that is passed on."""
        try:
            yield
        except (KeyboardInterrupt, RankOneError):
            self._again()
            raise

    def _again(self) -> None:
        if self._show is None or not (outcomes := self._finished()):
            return
        clock = time.monotonic()
        self._show(outcomes)
        taken = time.monotonic() - clock
        self._next = clock + taken + max(SECONDS_APART, SHOWING_COSTS * taken)


class Finished(NamedTuple):
    """A benchmark that has run, or as far as it has."""

    record: BenchRecord
    outcomes: list[Outcome]
    workspace: Workspace


def run_bench(
    config: BenchConfig,
    out: Path,
    computed: OpenOptions | None = None,
    workers: Workers | None = None,
    show: Callable[[Finished], None] | None = None,
) -> Finished:
    """Run what is not in `out` yet; writes `bench.json` and the runs. RankOneError where `out` holds something else.

    computed: on which device and in which numbers. workers: who does the runs, else this process. show: is given what has
    run, now and again and where the grid is broken off. Domains that the text lacks are left out.
    """
    if out.exists() and not (out / RECORD).is_file() and any(out.iterdir()):
        raise RankOneError(f"'{out}' holds no benchmark: give another --out, or an empty folder.")
    return ran(Benchmark(config, computed), out, workers, show=show)


def ran(
    benchmark: Benchmark,
    out: Path,
    workers: Workers | None = None,
    whole: bool = False,
    show: Callable[[Finished], None] | None = None,
) -> Finished:
    """The same of what is opened, into a folder of its own; whole: where a run fails all of it does (Grid)."""
    clock = time.monotonic()
    log.info(f"the part: {benchmark.pick.pick}")
    begun = _record(benchmark)
    _write(out, begun)
    grid = Grid(benchmark, out, workers, whole)
    rates = grid.rates()

    def so_far(outcomes: list[Outcome]) -> Finished:
        # Of the revision it began with: hours later another may lie there.
        record = begun.model_copy(update={"rates": rates, "seconds": time.monotonic() - clock})
        _write(out, record)
        return Finished(record, outcomes, benchmark.workspace)

    return so_far(grid.runs(rates, show and (lambda outcomes: show(so_far(outcomes)))))


def _record(benchmark: Benchmark) -> BenchRecord:
    """What is known before any run."""
    config, job = benchmark.config, benchmark.pick
    return BenchRecord(
        config=config,
        aim=benchmark.judged,
        identities=benchmark.identities,
        part=job.pick,
        label=job.labels.best(job.pick).label,
        rates={},
        tuning_runs={
            m: len(list(tuning_cells(config, m, next(iter(config.retain))))) for m in config.methods
        },
        spent=spent(job, benchmark.opening.decomposition_artifact),
        provenance={**environment(), "text": described(benchmark.workspace.corpus)},
    )


def _write(out: Path, record: BenchRecord) -> None:
    write_json(out / RECORD, record.model_dump(mode="json"), constants=True)


def read_record(out: Path) -> BenchRecord:
    """`bench.json` of a folder; RankOneError where there is none."""
    path = out / RECORD
    if not path.is_file():
        raise RankOneError(f"'{out}' holds no benchmark: make one with `rankone bench RECIPE --out {out}`.")
    return BenchRecord.checked(read_json(path), str(path))


def _by_reason(outcomes: Sequence[Outcome], looked_for: Sequence[str]) -> dict[str, int]:
    """Why runs of these statuses went wrong, and how many did."""
    reasons: dict[str, int] = {}
    for outcome in outcomes:
        if outcome.status in looked_for:
            method, rate = outcome.cell.method, outcome.cell.learning_rate
            why = outcome.error or f"a fit of {method} diverged: lower its learning rate ({rate})."
            reasons[why] = reasons.get(why, 0) + 1
    return reasons


def _model_identity(opening: Opening) -> JsonValue:
    """The hash of the model's artefact, else those of its folder's files; the name of one on the Hub."""
    from rankone.models.sources.names import resolve

    source = resolve(opening.options.model)
    if isinstance(source, Path) and (source / "manifest.json").is_file():
        return open_artifact(source).fingerprint
    if isinstance(source, Path):
        return {name: hashed for name, hashed in hashed_files(source).items() if not name.startswith(".")}
    return source
