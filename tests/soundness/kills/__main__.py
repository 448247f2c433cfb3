"""Kills of every command that writes, at random moments: does anything get lost, does the same command end the same?

`python -m tests.soundness.kills OUT.json [--kills 300] [--first 0] [--minutes 70] [--only ROW …]` goes on where OUT ends.
Commands (world.py) run on a tiny model in children forked from a process that has imported everything: a command takes
seconds, and no kill falls into its imports. Half of the kills come by the clock, after a share of the shortest time seen,
half just before a change of files (an open to write, a rename, a removal, …), where most is half done. A command that has
ended before its kill is late, and is no kill. After a SIGKILL what lay beside the output has not changed,
the output is absent or whole (or, of the commands that go on in the folder they make, readable by the same command), and
the same command, run again, ends as the run left alone did. At the end: what lies about, before and after
`rankone doctor --clean`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import pkgutil
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import config as datasets_settings
from huggingface_hub import constants
from perf.environment import environment
from pydantic import BaseModel
from tests.sharing.fake_hub import TOKEN, FakeHub
from tests.soundness.kills.world import COMMANDS, GO_ON, IN_PLACE, SEVERAL, make_world, prepare, words_of

import rankone
from rankone.cli import main

Moment = Literal["clock", "change"]
# Audit events of CPython before files change.
_CHANGES = (
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
)


class Outcome(BaseModel):
    """One kill: of which row, at which share of its time or of its changes of files; what was wrong, or ''.

    late: the command had ended before it.
    """

    command: str
    moment: Moment
    share: float
    problem: str = ""
    late: bool = False
    resumed: bool = False


class Report(BaseModel):
    """All kills so far; files that differ between two runs left alone; what lay about before and after the cleaning.

    seconds, changes: of a row's shortest run, and how often it changes files. unusable: commands that end with an error when
    they are left alone, and what they say.
    """

    environment: dict[str, Any] = {}
    first: int = 0
    kills: int = 0
    outcomes: list[Outcome] = []
    seconds: dict[str, float] = {}
    changes: dict[str, int] = {}
    varying: dict[str, list[str]] = {}
    strays: list[str] = []
    strays_after_clean: list[str] = []
    temporary: list[str] = []
    temporary_after_clean: list[str] = []
    unusable: dict[str, str] = {}

    def killed(self) -> Counter[str]:
        """Kills that came in time, by row."""
        return Counter(o.command for o in self.outcomes if not o.late)


@dataclass
class Ended:
    """How a command ended: exit status (−9: killed), what it said, how often it changed files, in how many seconds."""

    code: int
    said: str
    changes: int
    seconds: float


class Place:
    """The folder that commands run in, and a Hub on this machine for those that send."""

    def __init__(self, folder: Path) -> None:
        self.world, self.temporary, self.cache = folder / "world", folder / "tmp", folder / "cache"
        self.world.mkdir()
        self.temporary.mkdir()
        os.environ["TMPDIR"] = str(self.temporary)
        tempfile.tempdir = None
        tempfile.gettempdir()  # tries the place with a file, and a kill may leave that: once, here
        self.hub = FakeHub()
        datasets_settings.HF_DATASETS_CACHE = Path(self.cache)

    def start(self, words: Sequence[str], said: Path, at: int | None, counted: int) -> int:
        """Run a command in a forked child, to be killed before its change number `at`; its process id.

        counted: stream that the number of its changes is written to at its end.
        """
        child = os.fork()
        if child:
            return child
        os.chdir(self.world)
        stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.argv = ["rankone", *words]
        if words[0] == "push":
            self._reach_hub()
        changes = _watched(at)
        code = 1
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os.write(counted, str(changes[0]).encode())
            os._exit(code)

    def _reach_hub(self) -> None:
        address = self.hub.address
        os.environ.update(HF_TOKEN=TOKEN, HF_ENDPOINT=address, HF_HUB_DISABLE_XET="1")
        constants.ENDPOINT = address
        constants.HUGGINGFACE_CO_URL_TEMPLATE = address + "/{repo_id}/resolve/{revision}/{filename}"
        constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_XET = False, True
        constants.HF_HUB_CACHE = str(self.cache)

    def finished(self, words: Sequence[str], after: float | None = None, at: int | None = None) -> Ended:
        """Run a command to its end, or till it is killed after so many seconds or before that change."""
        read, write = os.pipe()
        with tempfile.NamedTemporaryFile(suffix=".said", dir=self.world.parent) as said:
            begun = time.monotonic()
            child = self.start(words, Path(said.name), at, write)
            os.close(write)
            while True:
                done, status = os.waitpid(child, os.WNOHANG if after else 0)
                if done:
                    break
                if after and time.monotonic() > begun + after:
                    os.kill(child, signal.SIGKILL)
                    after = None
                else:
                    time.sleep(0.002)
            spent = time.monotonic() - begun
            with os.fdopen(read, "rb") as stream:
                changes = int(stream.read() or 0)
            told = Path(said.name).read_text("utf8", "replace")
        return Ended(os.waitstatus_to_exitcode(status), told, changes, spent)

    def must_end(self, words: Sequence[str]) -> None:
        """Run a command that makes what others read."""
        ended = self.finished(words)
        assert ended.code == 0, ended.said

    def made(self, row: str, out: str) -> dict[str, str]:
        """Hash by name of all that stands at an output, here or at the Hub."""
        if row == "push":
            held = self.hub.repositories.get(f"someone/{out}")
            files = held.files("main") if held and held.commits else {}
            return {name: _hash(content) for name, content in files.items()}
        return contents(self.world / out)

    def inputs(self) -> dict[str, dict[str, str]]:
        """All that commands read, and none may change."""
        return {p.name: contents(p) for p in self.world.iterdir() if p.name.isupper()}

    def remove(self, out: str) -> None:
        """Take an output away."""
        self.hub.repositories.pop(f"someone/{out}", None)
        place = self.world / out
        if place.is_file():
            place.unlink()
        shutil.rmtree(place, ignore_errors=True)


def _watched(at: int | None) -> list[int]:
    """Count this process's changes of files from here on, and kill it before number `at`."""
    changes = [0]

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        opened = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (opened and not str(arguments[0]).startswith("/dev/")) or event in _CHANGES:
            changes[0] += 1
            if changes[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(heard)
    return changes


def contents(place: Path) -> dict[str, str]:
    """Hash of every file at a place; of JSON, of what does not tell the time."""
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    return {str(p.relative_to(place)): _hash(p.read_bytes()) for p in files}


def _hash(content: bytes) -> str:
    return hashlib.sha256(_timeless(content)).hexdigest()


def _timeless(content: bytes) -> bytes:
    if not content.startswith(b"{"):
        return content
    try:
        document = json.loads(content, object_hook=lambda d: {k: v for k, v in d.items() if k not in _TIMES})
    except ValueError:  # half a document is no other's
        return content
    return json.dumps(document).encode()


_TIMES = ("created", "seconds", "load_average")


def left_alone(place: Place, row: str, report: Report) -> dict[str, str]:
    """What the command makes when nothing happens, without the files that differ from run to run."""
    made = []
    for out in (f"{row}-whole", f"{row}-again"):
        prepare(place.world, row, out)
        ended = place.finished(words_of(row, out))
        assert ended.code == 0, f"{row}: {ended.said}"
        _note_time(report, row, ended.seconds)
        report.changes[row] = ended.changes
        made.append(place.made(row, out))
    differing = {f for f in made[0].keys() | made[1].keys() if made[0].get(f) != made[1].get(f)}
    differing |= {
        f for f in made[0] if Path(f).name == "manifest.json"
    }  # It says when it was made, to the second.
    report.varying[row] = sorted(differing)
    assert made[0], f"{row} makes nothing"
    return {name: digest for name, digest in made[0].items() if name not in differing}


def _note_time(report: Report, row: str, seconds: float) -> None:
    """The shortest: a kill after the end is none."""
    report.seconds[row] = round(min(seconds, report.seconds.get(row, seconds)), 3)


def kill(place: Place, row: str, number: int, whole: dict[str, str], report: Report) -> Outcome:
    """Kill one run, look at what is there, and run it again."""
    out, draw = f"{row}-{number}", random.Random(report.first + number)
    outcome = Outcome(command=row, moment=_moment(report, row), share=round(draw.random(), 3))
    prepare(place.world, row, out)
    inputs, before = place.inputs(), place.made(row, out)
    by_clock = outcome.moment == "clock"
    after = outcome.share * report.seconds[row] if by_clock else None
    at = None if by_clock else 1 + int(outcome.share * report.changes[row])
    ended = place.finished(words_of(row, out), after, at)
    outcome.late = ended.code != -signal.SIGKILL
    if outcome.late:
        _note_time(report, row, ended.seconds)
    if outcome.late and ended.code != 0:
        outcome.problem = f"ended with {ended.code} before the kill: {ended.said[-300:]}"
    elif inputs != place.inputs():
        outcome.problem = "what was there before has changed"
    else:
        outcome.problem = _look(place, row, out, before, whole) or _again(place, row, out, whole, outcome)
    place.remove(out)
    return outcome


def _moment(report: Report, row: str) -> Moment:
    """By turns, where the command changes files itself."""
    tried = sum(o.command == row for o in report.outcomes)
    return "change" if report.changes[row] and tried % 2 == 0 else "clock"


def _look(place: Place, row: str, out: str, before: dict[str, str], whole: dict[str, str]) -> str:
    """What is wrong with what a kill left at the output."""
    made = place.made(row, out)
    if row in GO_ON or not made or made == before or _same(made, whole):
        return ""
    if row in SEVERAL:
        standing = [p.name for p in (place.world / out).iterdir() if not p.name.startswith(".")]
        halves = [name for name in standing if not _same(made, _below(whole, name))]
        return f"half of it stands there: {halves}" if halves else ""
    return f"half of it stands there: {sorted(made)}"


def _below(whole: dict[str, str], name: str) -> dict[str, str]:
    return {file: digest for file, digest in whole.items() if Path(file).parts[0] == name}


def _again(place: Place, row: str, out: str, whole: dict[str, str], outcome: Outcome) -> str:
    """What is wrong with the same command, run again, if there is anything left to do."""
    if row not in GO_ON and row not in IN_PLACE and _same(place.made(row, out), whole):
        return ""
    if row in SEVERAL:
        place.remove(out)
    ended = place.finished(words_of(row, out))
    outcome.resumed = "resuming" in ended.said
    if ended.code != 0:
        return f"the same command ends with {ended.code}: {ended.said[-300:]}"
    return "" if _same(place.made(row, out), whole) else "the same command ends otherwise"


def _same(made: dict[str, str], whole: dict[str, str]) -> bool:
    """Whether all that a whole one has is there, and is the same."""
    return all(made.get(name) == digest for name, digest in whole.items())


def strays(world: Path) -> list[str]:
    """Hidden leftovers and run folders below the world."""
    return sorted(
        str(p.relative_to(world))
        for p in world.rglob("*")
        if p.name.startswith(".") or p.name.endswith(".run")
    )


def run(out: Path, kills: int, only: Sequence[str], first: int, minutes: float) -> Report:
    """Go on from what `out` holds up to `kills` kills, each of the row with fewest; `first`: seed of a new run's first kill.

    minutes: no kill begins after so many.
    """
    ends = time.monotonic() + 60 * minutes
    new = Report(environment=environment(), first=first)
    report = Report.model_validate_json(out.read_text("utf8")) if out.exists() else new
    report.unusable.clear()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        make_world(place.world, place.must_end)
        wholes: dict[str, dict[str, str]] = {}
        while time.monotonic() < ends:
            killed = report.killed()
            rows = [row for row in only or COMMANDS if row not in report.unusable]
            if not rows or killed.total() >= kills:
                break
            row = min(rows, key=lambda name: killed[name])
            if row not in wholes:
                try:
                    wholes[row] = left_alone(place, row, report)
                except AssertionError as error:
                    report.unusable[row] = str(error)
                    continue
            report.outcomes.append(kill(place, row, len(report.outcomes), wholes[row], report))
            report.kills = report.killed().total()
            out.write_text(report.model_dump_json(indent=1), "utf8")
        report.strays += strays(place.world)
        report.temporary += sorted(p.name for p in place.temporary.iterdir())
        place.must_end(["doctor", ".", "--clean"])
        report.strays_after_clean += strays(place.world)
        report.temporary_after_clean += sorted(p.name for p in place.temporary.iterdir())
        place.hub.close()
        out.write_text(report.model_dump_json(indent=1), "utf8")
    return report


def _import_everything() -> None:
    for module in pkgutil.walk_packages(rankone.__path__, "rankone."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("lm_eval", "lm_eval.tasks", "lm_eval.models.huggingface"):
        importlib.import_module(name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    _import_everything()
    result = run(given.out, given.kills, given.only, given.first, given.minutes)
    wrong = [o for o in result.outcomes if o.problem]
    late = sum(o.late for o in result.outcomes)
    said = f"{result.kills} kills, {late} late and not counted, {len(wrong)} wrong, unusable: {[*result.unusable]}"
    sys.stdout.write("\n".join([said, *map(str, wrong)]) + "\n")
