"""One worker: opens a benchmark as it was set up and does one stack after the other; what it is told and tells is JSON."""

from __future__ import annotations

import base64
from functools import lru_cache
from pathlib import Path

import torch

from rankone.core.config import Record
from rankone.edits.lowrank import LowRankEdit
from rankone.experiments.bench.ledger import Outcome
from rankone.experiments.bench.run import Benchmark
from rankone.experiments.bench.work import Made, Setup, Work
from rankone.harvest.reading.store import HarvestStore
from rankone.runtime.progress import silenced
from rankone.runtime.scratch import scratch


class Answer(Record):
    """What came of a stack, for another process: outcomes, and the files of the edit that is shown, in base64."""

    outcomes: tuple[Outcome, ...]
    edit: dict[str, str] | None = None

    @classmethod
    def of(cls, made: Made) -> Answer:
        """The answer that tells it."""
        if made.edit is None:
            return cls(outcomes=tuple(made.outcomes))
        with scratch("edit") as folder:
            saved = made.edit.save_pretrained(folder / "edit")
            files = {f.name: base64.b64encode(f.read_bytes()).decode() for f in saved.iterdir()}
        return cls(outcomes=tuple(made.outcomes), edit=files)

    def made(self) -> Made:
        """What it tells; the edit's files are checked as every saved edit's."""
        if self.edit is None:
            return Made(list(self.outcomes))
        with scratch("edit") as folder:
            saved = folder / "edit"
            saved.mkdir()
            for name, content in self.edit.items():
                (saved / Path(name).name).write_bytes(base64.b64decode(content))
            return Made(list(self.outcomes), LowRankEdit.from_pretrained(saved))


def answered(setup: str, work: str) -> str:
    """Do a stack (both as JSON) in this process, in which the benchmark stays open for the next one."""
    with silenced(True):
        made = _opened(setup).do(Work.model_validate_json(work))
    return Answer.of(made).model_dump_json()


@lru_cache(maxsize=1)
def _opened(setup: str) -> Benchmark:
    """The benchmark of a setup, with the pick it was given."""
    asked = Setup.model_validate_json(setup)
    torch.set_num_threads(asked.threads)
    benchmark = Benchmark(asked.config, asked.options)
    known = benchmark.pick.__dict__
    known["tried"] = list(asked.tried)
    if asked.harvest.is_dir():
        space = benchmark.workspace
        known["store"] = HarvestStore.open(asked.harvest, space.decomposition, space.model)
    return benchmark
