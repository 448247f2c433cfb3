"""Kills of every command that writes, at random moments: does anything get lost, does the same command end the same?

`python -m perf.kills OUT.json [--kills 300] [--first 0] [--minutes 70]` goes on where OUT ends. Commands run on a tiny model
in children forked from a process that has imported everything: a command takes seconds, and no kill falls into its imports.
After a SIGKILL what lay beside the output has not changed, the output is absent or whole (or, of the commands that go on in
the folder they make, readable by the same command), and the same command, run again, ends as the run left alone did.
At the end: what lies about, before and after `rankone doctor --clean`.
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
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
import yaml
from perf.environment import environment
from pydantic import BaseModel

import rankone
from perf import tiny
from rankone.cli import main
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.model import save_decomposition
from rankone.edits.scales import scale_edit
from rankone.edits.selection import Candidate
from rankone.experiments import job
from rankone.models.simple_mlp import SimpleMLPConfig, SimpleMLPForCausalLM
from rankone.models.tokenizer import train_tokenizer
from rankone.text.sources.builtin import BuiltinCorpus

PART, WRITER = "h.0.mlp.c_fc:3", "h.0.mlp.down_proj:1"
# Command → its words, and the option that names what it makes. MODEL, DEC, … lie in the world.
_PAIR = "--model MODEL --decomposition DEC"
_SOME = f"{_PAIR} --tokens 60"
_DOMAINS = "--domains de,en"
COMMANDS: dict[str, tuple[str, str]] = {
    "pretrain": ("pretrain PRETRAIN --text builtin --preset tiny", "--out"),
    "decompose": ("decompose MODEL --recipe DECOMPOSE --text builtin --evidence small", "--out"),
    "evidence": ("evidence DEC --model MODEL --steps 1", "--folder"),
    "compare": ("compare DEC DEC --model MODEL", "--out"),
    "harvest": (
        f"harvest DEC --model MODEL {_DOMAINS} --tokens 2000 --examples 10 --batch-tokens 128 --chunk-tokens 200",
        "--out",
    ),
    "cluster": (f"cluster DEC --model MODEL {_DOMAINS} --tokens 300 --rank-penalty 2", "--out"),
    "label": ("label HARVEST", "--out"),
    "find": (
        "find MODEL --of de --sources neuron,contrast --sites *.mlp.down_proj --against en --tokens 100",
        "--out",
    ),
    "sharpen": (f"sharpen {PART} --of de --model MODEL --decomposition DEC", "--out"),
    "tune": (f"tune MODEL --decomposition DEC --forget de --retain en --scale {PART} --tokens 60", "--save"),
    "edit": (f"edit {PART}=-3 {_SOME}", "--save"),
    "export": ("export EDIT --model MODEL", "--out"),
    "export-adapter": ("export EDIT --model MODEL --as adapter", "--out"),
    "measure": ("measure MODEL --tokens 60", "--out"),
    "toys": ("toys TOY", "--out"),
    "fetch": ("fetch mini", "--out"),
    "merge-harvest": ("merge-harvest SHARDS", "--out"),
    "graph": (
        "graph MODEL the --decomposition DEC --nodes strongest --per-site 1 --removed 2 --random-graphs 1",
        "--out",
    ),
    "graph-export": ("graph-export GRAPH", "--page"),
    "graph-export-viewer": ("graph-export GRAPH", "--viewer"),
    "graph-export-neuronpedia": ("graph-export GRAPH", "--neuronpedia"),
    "qk": (f"qk MODEL 0 --decomposition DEC {_DOMAINS} --tokens 60", "--out"),
    "attributions": (f"attributions {PART} {_PAIR} {_DOMAINS} --tokens 40", "--out"),
    "transcoders-train": (f"transcoders-train MODEL --recipe CODERS {_DOMAINS}", "--out"),
    "transcoders-compare": (
        f"transcoders-compare TRANSCODED {_PAIR} {_DOMAINS} --tokens 64 --neurons 2 --levels .5 --jacobians 1",
        "--out",
    ),
    "rewrite": (f"rewrite {WRITER} --token er --sizes 1,30 --fires .05 {_SOME}", "--save"),
    "project": (f"project ADAPTER --sources neuron --keep 1 {_SOME}", "--save"),
    "investigate": (
        f"investigate {PART} {_PAIR} --harvest HARVEST --labels LABELS {_DOMAINS} --alphas 0 --tokens 40",
        "--html",
    ),
    "show": (f"show {PART} {_PAIR} --harvest HARVEST --labels LABELS", "--html"),
    "collect": ("collect MODEL --habit e=e --tokens 3", "--out"),
    "side-effects": ("side-effects EDIT --model MODEL --kinds fact --tokens 3", "--html"),
    "survive": (
        "survive EDIT --model MODEL --forget de --benign en --measured de,en --attacks none,bf16,knob "
        "--budgets 4 --seeds 1 --steps 2 --tokens 40",
        "--out",
    ),
    "select-rates": ("select-rates --recipe RATES --seeds 1", "--out"),
    "bench": ("bench BENCH", "--out"),
    "demo": ("demo --recipe JOB --harvest HARVEST --labels LABELS", "--out"),
}
# They work in the folder they make: what is there before they end is read by the same command.
GO_ON = ("bench",)


class Outcome(BaseModel):
    """One kill: after which share of the command's time; what was wrong, or ''; whether the command had ended before it."""

    command: str
    share: float
    problem: str = ""
    late: bool = False
    resumed: bool = False


class Report(BaseModel):
    """All kills so far; files that differ between two runs left alone; what lay about before and after the cleaning.

    unusable: commands that end with an error when they are left alone, and what they say.
    """

    environment: dict[str, Any] = {}
    first: int = 0
    outcomes: list[Outcome] = []
    seconds: dict[str, float] = {}
    varying: dict[str, list[str]] = {}
    strays: list[str] = []
    strays_after_clean: list[str] = []
    temporary: list[str] = []
    temporary_after_clean: list[str] = []
    unusable: dict[str, str] = {}


def make_world(folder: Path) -> None:
    """A tiny model, its decomposition, a harvest, an edit and the recipes."""
    # Its harvest names no German part: any will do.
    named = [Candidate(name, 1.0) for name in (PART, WRITER)]
    job.labelled_candidates = lambda *_: (named, named)
    texts = [d for domain in ("de", "en") for d in BuiltinCorpus().documents(domain, "train", 40_000)]
    tokenizer = train_tokenizer(texts, 320, 64)
    torch.manual_seed(0)
    ends: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = SimpleMLPConfig(
        vocab_size=320, max_position_embeddings=64, initializer_range=0.2, **tiny.SIZES, **ends
    )
    model = SimpleMLPForCausalLM(config).eval()
    model.save_pretrained(folder / "MODEL")
    tokenizer.save_pretrained(folder / "MODEL")
    recipe = DecomposeConfig.model_validate(
        {"mixture": tiny.MIXTURE, "steps": 1, "importance": tiny.IMPORTANCE}
    )
    parts = new_decomposition(model, recipe)
    counts = dict(zip(parts.sites, parts.counts, strict=True))
    about = {"recipe": recipe.model_dump(), "original_subcomponents": counts}
    save_decomposition(parts, model, folder / "DEC", about, None)
    scale_edit(parts, {PART: 0.0}).bind(model).save_pretrained(folder / "EDIT")
    toy = yaml.safe_load((Path(__file__).parents[1] / "recipes/toys/tms-5-2.yaml").read_text("utf8"))
    recipes = {
        "PRETRAIN": tiny.pretrain(8000),
        "DECOMPOSE": tiny.decompose(40),
        "TOY": _shorter(toy),
        "CODERS": tiny.transcoders(1280),
        "RATES": tiny.job(budgets={"scalar": [4], "lora_r1_local": [4]}),
        "JOB": tiny.job(budgets={"scalar": [4], "lora_r1": [4]}, alphas=[0.0]),
        "BENCH": tiny.bench(["scalar", "lora_r1", "neuron"]),
    }
    for name, values in recipes.items():
        (folder / name).write_text(yaml.safe_dump(values), "utf8")
    for name, command, more in MADE:
        code, said = finished(folder, [*words_of(command, name), *more.split()], None)
        assert code == 0, said


# What other commands read, the command that makes it, and options of its own.
MADE = (
    ("HARVEST", "harvest", ""),
    ("JOINED", "harvest", "--run SHARDS --shard 0/2"),
    ("JOINED", "harvest", "--run SHARDS --shard 1/2"),
    ("LABELS", "label", ""),
    ("GRAPH", "graph", ""),
    ("TRANSCODED", "transcoders-train", ""),
    ("ADAPTER", "export-adapter", ""),
)


def _shorter(recipe: dict[str, object]) -> dict[str, object]:
    """A toy's recipe with few steps."""
    return {key: _fewer(key, value) for key, value in recipe.items()}


def _fewer(key: str, value: object) -> object:
    if isinstance(value, dict):
        return _shorter(value)
    return min(value, 60) if isinstance(value, int) and "steps" in key else value


def start(world: Path, words: Sequence[str], said: Path) -> int:
    """Run a command in a forked child; its process id."""
    child = os.fork()
    if child:
        return child
    os.chdir(world)
    stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    sys.argv = ["rankone", *words]
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
        os._exit(code)


def finished(world: Path, words: Sequence[str], after: float | None) -> tuple[int, str]:
    """Exit status (−9: killed `after` seconds) and what it said."""
    with tempfile.NamedTemporaryFile(suffix=".said") as said:
        child = start(world, words, Path(said.name))
        deadline = None if after is None else time.monotonic() + after
        while True:
            done, status = os.waitpid(child, os.WNOHANG if deadline else 0)
            if done:
                return os.waitstatus_to_exitcode(status), Path(said.name).read_text("utf8", "replace")
            if deadline and time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                deadline = None
            else:
                time.sleep(0.001)


def contents(place: Path) -> dict[str, str]:
    """Hash of every file at a place; of JSON, of what does not tell the time."""
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    return {str(p.relative_to(place)): hashlib.sha256(_timeless(p.read_bytes())).hexdigest() for p in files}


def _timeless(content: bytes) -> bytes:
    if not content.startswith(b"{"):
        return content
    try:
        document = json.loads(content, object_hook=lambda d: {k: v for k, v in d.items() if k not in _TIMES})
    except ValueError:  # half a document is no other's
        return content
    return json.dumps(document).encode()


_TIMES = ("created", "seconds", "load_average")


def words_of(command: str, out: str) -> list[str]:
    """The command that makes `out`."""
    words, option = COMMANDS[command]
    return [*words.split(), option, out]


def left_alone(world: Path, command: str, report: Report) -> dict[str, str]:
    """What the command makes when nothing happens, without the files that differ from run to run."""
    made = []
    for name in (f"{command}-whole", f"{command}-again"):
        begun = time.monotonic()
        code, said = finished(world, words_of(command, name), None)
        # The shorter: a kill after the end is none.
        spent = time.monotonic() - begun
        report.seconds[command] = round(min(spent, report.seconds.get(command, spent)), 2)
        assert code == 0, f"{command}: {said}"
        made.append(contents(world / name))
    differing = {f for f in made[0].keys() | made[1].keys() if made[0].get(f) != made[1].get(f)}
    differing.add("manifest.json")  # It says when it was made, to the second.
    report.varying[command] = sorted(differing)
    return {name: digest for name, digest in made[0].items() if name not in differing}


def kill(
    world: Path, command: str, share: float, number: int, whole: dict[str, str], report: Report
) -> Outcome:
    """Kill one run after a share of its time, look at what is there, and run it again."""
    out = f"{command}-{number}"
    inputs = {p.name: contents(p) for p in world.iterdir() if p.name.isupper()}
    code, said = finished(world, words_of(command, out), share * report.seconds[command])
    outcome = Outcome(command=command, share=round(share, 3), late=code != -signal.SIGKILL)
    if outcome.late and code != 0:
        outcome.problem = f"ended with {code} before the kill: {said[-300:]}"
        return outcome
    if inputs != {p.name: contents(p) for p in world.iterdir() if p.name.isupper()}:
        outcome.problem = "what was there before has changed"
    standing = (world / out).exists()
    going = command in GO_ON
    if standing and not going and not _same(contents(world / out), whole):
        outcome.problem = f"half of it stands there: {sorted(contents(world / out))}"
    if going or not standing:
        code, said = finished(world, words_of(command, out), None)
        outcome.resumed = "resuming" in said
        if code != 0:
            outcome.problem = f"the same command ends with {code}: {said[-300:]}"
        elif not _same(contents(world / out), whole):
            outcome.problem = "the same command ends otherwise"
    shutil.rmtree(world / out, ignore_errors=True)
    (world / out).unlink(missing_ok=True) if (world / out).is_file() else None
    return outcome


def _same(made: dict[str, str], whole: dict[str, str]) -> bool:
    return all(made.get(name) == digest for name, digest in whole.items())


def strays(world: Path) -> list[str]:
    """Hidden leftovers and run folders below the world."""
    return sorted(
        str(p.relative_to(world))
        for p in world.rglob("*")
        if p.name.startswith(".") or p.name.endswith(".run")
    )


def run(out: Path, kills: int, only: Sequence[str], first: int, minutes: float) -> Report:
    """Go on from what `out` holds up to `kills` kills, commands in turns; `first`: seed of a new run's first kill.

    minutes: no kill begins after so many.
    """
    ends = time.monotonic() + 60 * minutes
    new = Report(environment=environment(), first=first)
    report = Report.model_validate_json(out.read_text("utf8")) if out.exists() else new
    names = list(only or COMMANDS)
    with tempfile.TemporaryDirectory() as folder:
        world, temporary = Path(folder) / "world", Path(folder) / "tmp"
        world.mkdir()
        temporary.mkdir()
        os.environ["TMPDIR"] = str(temporary)
        tempfile.tempdir = None
        make_world(world)
        wholes: dict[str, dict[str, str]] = {}
        turns = cycle(names[len(report.outcomes) % len(names) :] + names[: len(report.outcomes) % len(names)])
        while len(report.outcomes) < kills and time.monotonic() < ends and len(report.unusable) < len(names):
            number, command = len(report.outcomes), next(turns)
            if command in report.unusable:
                continue
            if command not in wholes:
                try:
                    wholes[command] = left_alone(world, command, report)
                except AssertionError as error:
                    report.unusable[command] = str(error)
                    continue
            share = random.Random(report.first + number).random()
            report.outcomes.append(kill(world, command, share, number, wholes[command], report))
            out.write_text(report.model_dump_json(indent=1), "utf8")
        report.strays, report.temporary = strays(world), sorted(p.name for p in temporary.iterdir())
        finished(world, ["doctor", ".", "--clean"], None)
        report.strays_after_clean = strays(world)
        report.temporary_after_clean = sorted(p.name for p in temporary.iterdir())
        out.write_text(report.model_dump_json(indent=1), "utf8")
    return report


def _import_everything() -> None:
    for module in pkgutil.walk_packages(rankone.__path__, "rankone."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


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
    print(f"{len(result.outcomes)} kills, {sum(o.late for o in result.outcomes)} late, {len(wrong)} wrong")
    for outcome in wrong:
        print(outcome)
