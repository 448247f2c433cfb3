"""Ten thousand faulty inputs: signed artefacts, recipes, text folders. Only the named error may come of one, or a reading.

`python -m tests.soundness.fuzz OUT.json [--count 10000] [--first 0]` goes on where OUT ends; `--first`: the first seed, for
inputs that no run has seen. What is an artefact is looked at by the doctor too, which names faults and raises nothing. None
may take 20 s of the processor (a busy machine makes no input slow) or 200 s by the clock (what waits for ever burns
nothing), nor may the process, models of the tests and all, come to 2 GiB of memory.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from perf.environment import environment
from pydantic import BaseModel
from tests.golden.mutations import mutated
from tests.golden.test_fuzz import READERS, SOURCES
from tests.soundness.hostile import faulty_recipe, faulty_text

from rankone.core.errors import RankOneError
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.ground_truth.recipe import ToyRecipe
from rankone.doctor.artefact import check_artefact, is_artefact
from rankone.models.loading import load_model
from rankone.models.pretraining.config import PretrainConfig
from rankone.text.opening import open_corpus

SECONDS, CLOCK, MIB = 20, 200, 2048


class Tally(BaseModel):
    """What became of the inputs so far: named errors and readings by kind, the slowest, and all that went wrong.

    first: seed of the first input.
    """

    environment: dict[str, Any] = {}
    first: int = 0
    done: int = 0
    refused: dict[str, int] = {}
    read: dict[str, int] = {}
    slowest: float = 0.0
    slowest_input: str = ""
    peak_mib: int = 0
    wrong: list[str] = []


def read_recipe(path: Path) -> None:
    """As the verbs do that take recipes; right when one of them takes it."""
    refusals = []
    for config in (DecomposeConfig, PretrainConfig, ToyRecipe):
        try:
            config.from_yaml(path)
        except RankOneError as error:
            refusals.append(error)
    if len(refusals) == 3:
        raise refusals[0]


def read_text(path: Path) -> None:
    """Every document of every domain, and the fingerprint."""
    corpus = open_corpus(str(path))
    corpus.fingerprint()
    for domain in corpus.domains():
        for split in ("train", "validation", "test"):
            for document in corpus.documents(domain, split, 2_000_000):
                document.encode()


def attempt(seed: int, folder: Path, models: dict[Path, object]) -> tuple[str, str, bool]:
    """Make and read one input; its kind, what was done to it, and whether it was refused."""
    kind = ("recipe", "text", "text")[seed % 10] if seed % 10 < 3 else list(READERS)[seed % len(READERS)]
    path = folder / "input"
    if kind == "recipe":
        said, read = faulty_recipe(path, seed), lambda: read_recipe(path)
    elif kind == "text":
        said, read = faulty_text(path, seed), lambda: read_text(path)
    else:
        sources = [source for source in SOURCES if (source / kind).exists()]
        source = sources[seed % len(sources)]
        # Past the seeds of the tests.
        said, read = (
            mutated(source / kind, path, 1_000_000 + seed),
            lambda: READERS[kind](path, models[source]),
        )
    try:
        read()
        refused = False
    except RankOneError:
        refused = True
    except Exception as error:
        raise Wrong(f"{kind}, {said}: {type(error).__name__}: {str(error)[:200]}") from error
    try:
        if path.is_dir() and is_artefact(path):
            list(check_artefact(path))
    except Exception as error:
        raise Wrong(f"doctor, {kind}, {said}: {type(error).__name__}: {str(error)[:200]}") from error
    return kind, said, refused


class Wrong(Exception):
    """An input of which something else came."""


class TooSlow(BaseException):
    """No Exception: a TimeoutError is an OSError, of which readers make the named error."""


def _too_slow(number: int, _: object) -> None:
    raise TooSlow(
        f"over {CLOCK} s by the clock" if number == signal.SIGALRM else f"over {SECONDS} s of the processor"
    )


def _limit(seconds: float, clock: float) -> None:
    """Stop what runs after so much of the processor's and of the clock's time; 0: let it run.

    A loop outside of Python hears no signal: after twice that the process ends, and says where it was.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, clock)
    if clock:
        faulthandler.dump_traceback_later(2 * clock, exit=True)
    else:
        faulthandler.cancel_dump_traceback_later()


def run(out: Path, count: int, first: int) -> Tally:
    """Go on from what `out` holds up to `count` inputs; the seeds of a new run begin at `first`."""
    new = Tally(environment=environment(), first=first)
    tally = Tally.model_validate_json(out.read_text("utf8")) if out.exists() else new
    models: dict[Path, object] = {source: load_model(source / "model") for source in SOURCES}
    for alarm in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(alarm, _too_slow)
    refused, read = Counter(tally.refused), Counter(tally.read)
    for seed in range(tally.first + tally.done, tally.first + count):
        with tempfile.TemporaryDirectory() as folder:
            _limit(SECONDS, CLOCK)
            start = time.process_time()
            try:
                kind, said, named = attempt(seed, Path(folder), models)
                (refused if named else read)[kind] += 1
            except (Exception, TooSlow) as error:
                said = f"seed {seed}: {error}"
                tally.wrong.append(said)
            finally:
                _limit(0, 0)
            seconds = time.process_time() - start
            if seconds > tally.slowest:
                tally.slowest, tally.slowest_input = round(seconds, 2), f"seed {seed}: {said}"
        tally.done = seed + 1 - tally.first
        if tally.done % 100 == 0 or tally.done == count:
            tally.refused, tally.read = dict(sorted(refused.items())), dict(sorted(read.items()))
            tally.peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            if tally.peak_mib > MIB:
                raise Wrong(f"{tally.peak_mib} MiB within the hundred inputs before {tally.done}")
            partial = out.with_suffix(".partial")
            partial.write_text(json.dumps(tally.model_dump(), indent=1, ensure_ascii=True), "utf8")
            shutil.move(partial, out)
    return tally


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    run(given.out, given.count, given.first)
