"""A benchmark from its recipe to its folder: rates chosen, the grid run, tables, rollouts, figures and the page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, JsonValue

from rankone.core.artifact import environment, open_artifact, read_json, write_json
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.manifest import hashed_files
from rankone.edits.fitting.aim import Aim
from rankone.experiments.bench.cells import Cell, Purpose, facts_of, grid_cells, tuning_cells
from rankone.experiments.bench.config import BenchConfig
from rankone.experiments.bench.ledger import Ledger, Outcome
from rankone.experiments.bench.measuring import Base, base_of, damage_of
from rankone.experiments.bench.rollouts import EDITS, shown_cell
from rankone.experiments.bench.stack import Bench
from rankone.experiments.bench.tables import score
from rankone.experiments.job import Job
from rankone.experiments.requests import Rate
from rankone.metrics.damage_record import measured
from rankone.opening import Opening, OpenOptions
from rankone.runtime.progress import log, meter
from rankone.text.corpus import described
from rankone.workspace import Workspace

RUNS, RECORD = "runs", "bench.json"


class BenchRecord(Config):
    """`bench.json`: what was asked, on what it ran, what was picked and which rates were chosen.

    rates: by method, retain set and budget. identities: hashes of model, decomposition and text, and the pick.
    spent: tokens of the text to forget that were used before any fit, by purpose.
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

    def __init__(self, config: BenchConfig, out: Path, computed: OpenOptions | None = None) -> None:
        self.out, self.ledger = out, Ledger(out / RUNS)
        named = {
            "model": config.model,
            "decomposition": config.decomposition,
            "text": config.text,
            **(computed or OpenOptions()).model_dump(include={"device", "dtype"}),
        }
        self.opening = Opening(OpenOptions.checked(named, "bench"))
        self.config = config.on_domains(self.opening.corpus.domains())
        self._jobs: dict[str, Job] = {}
        self._benches: dict[tuple[str, str, bool], Bench] = {}

    @property
    def workspace(self) -> Workspace:
        """Model, tokenizer, text and parts."""
        return self.opening.workspace

    def job(self, retain: str) -> Job:
        """The job of a retain set; all of them share one harvest and one pick."""
        if retain not in self._jobs:
            made = Job(self.config.job(retain), self.workspace)
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

    def bench(self, method: str, retain: str, grid: bool) -> Bench:
        """A method under a retain set; in tuning it sees no test text."""
        key = (method, retain, grid)
        if key not in self._benches:
            texts = self.texts if grid else {"validation": self.texts["validation"]}
            self._benches = {key: Bench(self.job(retain), method, self.config.cap, texts)}
        return self._benches[key]

    def outcomes(self, cells: Sequence[Cell], purpose: Purpose, what: str) -> list[Outcome]:
        """The outcome of every cell of one method and retain set: found in the ledger, or run now, a stack at a time."""
        if not cells:
            return []
        method, retain = cells[0].method, cells[0].retain
        facts = facts_of(self.config, retain, self.identities, purpose)
        keys = [cell.key(facts) for cell in cells]
        finished = {key: outcome for key in keys if (outcome := self.ledger.find(key)) is not None}
        left = [(cell, key) for cell, key in zip(cells, keys, strict=True) if key not in finished]
        with meter(what, len(cells)) as bar:
            bar.advance(len(cells) - len(left))
            for part in _stacks(left, self.config.stack):
                bench = self.bench(method, retain, purpose == "grid")
                sized = self.config.sized and purpose == "grid" and bench.kind.trained
                made = bench.run([cell for cell, _ in part], [key for _, key in part], sized)
                if purpose == "grid":
                    self._save(bench, made)
                for outcome in made:
                    self.ledger.add(outcome)
                    finished[outcome.key] = outcome
                    bar.advance()
        return [finished[key] for key in keys]

    def _save(self, bench: Bench, outcomes: Sequence[Outcome]) -> None:
        """Keep the edit that is shown, if it is among these, before its run counts as finished."""
        for outcome in outcomes:
            cell, fitted = outcome.cell, outcome.fitted
            if bench.kind.weights and cell in bench.fits and fitted and shown_cell(self.config, cell):
                edit = bench.fits[cell].edit.bind(self.workspace.model)
                rows = [damage_of(d, one, self.judged.role(d)) for d, one in fitted.test.items()]
                edit.save_pretrained(self.out / EDITS / cell.method, measured(rows), replace=True)

    def rates(self, method: str, retain: str) -> dict[int, Rate]:
        """The learning rate of a method at every budget, by the mean score of its tuning runs on validation text."""
        config = self.config
        weight = min(config.weights_of(method), key=lambda w: (abs(w - config.tuning_weight), w))
        chosen = dict.fromkeys(config.budgets, config.rates(method)[0])
        cells = list(tuning_cells(config, method, retain))
        scores: dict[int, dict[float, list[float]]] = {}
        for outcome in self.outcomes(cells, "tuning", f"rates of {method}, {retain}"):
            value = -float("inf") if outcome.fitted is None else score(outcome.fitted.validation, self.judged)
            cell = outcome.cell
            scores.setdefault(cell.budget, {}).setdefault(cell.learning_rate, []).append(value)
        for budget, by_rate in scores.items():
            chosen[budget] = max(by_rate, key=lambda rate: sum(by_rate[rate]) / len(by_rate[rate]))
        return {b: Rate(learning_rate=r, retain_weight=weight, margin=config.cap) for b, r in chosen.items()}

    def grid(self, rates: Mapping[str, Mapping[str, Mapping[int, Rate]]]) -> list[Outcome]:
        """All runs of the grid."""
        outcomes: list[Outcome] = []
        for method in self.config.methods:
            for retain in self.config.retain:
                chosen = {budget: rate.learning_rate for budget, rate in rates[method][retain].items()}
                cells = list(grid_cells(self.config, method, retain, chosen))
                outcomes += self.outcomes(cells, "grid", f"{method}, {retain}")
        return outcomes


class Finished(NamedTuple):
    """A benchmark that has run."""

    record: BenchRecord
    outcomes: list[Outcome]
    workspace: Workspace


def run_bench(config: BenchConfig, out: Path, computed: OpenOptions | None = None) -> Finished:
    """Run what is not in `out` yet; writes `bench.json` and the runs. RankOneError where `out` holds something else.

    computed: on which device and in which numbers. Domains that the text lacks are left out.
    """
    if out.exists() and not (out / RECORD).is_file() and any(out.iterdir()):
        raise RankOneError(f"'{out}' holds no benchmark: give another --out, or an empty folder.")
    clock = time.monotonic()
    benchmark = Benchmark(config, out, computed)
    log.info(f"the part: {benchmark.pick.pick}")
    _write(out, _record(benchmark, {}, 0.0))
    config = benchmark.config
    rates = {m: {r: benchmark.rates(m, r) for r in config.retain} for m in config.methods}
    outcomes = benchmark.grid(rates)
    record = _record(benchmark, rates, time.monotonic() - clock)
    _write(out, record)
    return Finished(record, outcomes, benchmark.workspace)


def _record(
    benchmark: Benchmark, rates: dict[str, dict[str, dict[int, Rate]]], seconds: float
) -> BenchRecord:
    config, job = benchmark.config, benchmark.pick
    return BenchRecord(
        config=config,
        aim=benchmark.judged,
        identities=benchmark.identities,
        part=job.pick,
        label=job.labels.best(job.pick).label,
        rates=rates,
        tuning_runs={
            m: len(list(tuning_cells(config, m, next(iter(config.retain))))) for m in config.methods
        },
        spent={"harvest and ranking": config.selection_tokens, "measuring candidates": config.pick_tokens},
        provenance={**environment(), "text": described(benchmark.workspace.corpus)},
        seconds=seconds,
    )


def _write(out: Path, record: BenchRecord) -> None:
    write_json(out / RECORD, record.model_dump(mode="json"))


def read_record(out: Path) -> BenchRecord:
    """`bench.json` of a folder; RankOneError where there is none."""
    path = out / RECORD
    if not path.is_file():
        raise RankOneError(f"'{out}' holds no benchmark: make one with `rankone bench RECIPE --out {out}`.")
    return BenchRecord.checked(read_json(path), str(path))


def _stacks(left: Sequence[tuple[Cell, str]], size: int) -> Iterator[Sequence[tuple[Cell, str]]]:
    """Cells of like width together, so that padding costs little: a stack holds one budget where it can."""
    ordered = sorted(left, key=lambda item: item[0].budget)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def _model_identity(opening: Opening) -> JsonValue:
    """The model's name and the hash of its artefact, where it is one."""
    from rankone.models.sources.names import resolve

    source = resolve(opening.options.model)
    if isinstance(source, Path) and (source / "manifest.json").is_file():
        return open_artifact(source).fingerprint
    return str(opening.options.model)
