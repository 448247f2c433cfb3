"""What is killed: a row of every command that writes, on a tiny model, and all that these commands read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from tests.decomposition.published import write_run
from tests.integrations.letters import TASK

from perf import tiny
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.model import save_decomposition
from rankone.edits.scales import scale_edit
from rankone.edits.selection import Candidate
from rankone.experiments import job, picks
from rankone.models.simple_mlp import SimpleMLPConfig, SimpleMLPForCausalLM
from rankone.models.tokenizer import train_tokenizer
from rankone.recipes import shipped
from rankone.text.sources.builtin import BuiltinCorpus

PART, WRITER = "h.0.mlp.c_fc:3", "h.0.mlp.down_proj:1"
_PAIR = "--model MODEL --decomposition DEC"
_SOME = f"{_PAIR} --tokens 60"
_DOMAINS = "--domains de,en"
_SEEN = "--harvest HARVEST --labels LABELS"
# A row's name → the command. OUT is what it makes; MODEL, DEC, … lie in the world.
COMMANDS: dict[str, str] = {
    "pretrain": "pretrain PRETRAIN --text builtin --preset tiny --out OUT",
    "decompose": "decompose MODEL --recipe DECOMPOSE --text builtin --evidence small --out OUT",
    "import": "import PUBLISHED --out OUT",
    "toys": "toys TOY --out OUT",
    "evidence": "evidence DEC --model MODEL --steps 1 --folder OUT",
    "evidence-twice": "evidence DEC --model MODEL --steps 1 --folder OUT/folder --out OUT/evidence.json",
    "compare": "compare DEC DEC --model MODEL --out OUT",
    "harvest": (
        f"harvest DEC --model MODEL {_DOMAINS} --tokens 2000 --examples 10 --batch-tokens 128 --chunk-tokens 200 --out OUT"
    ),
    "merge-harvest": "merge-harvest SHARDS --out OUT",
    "cluster": f"cluster DEC --model MODEL {_DOMAINS} --tokens 300 --rank-penalty 2 --out OUT",
    "label": "label HARVEST --out OUT",
    "show": f"show {PART} {_PAIR} {_SEEN} --html OUT",
    "picks": f"picks MODEL --decomposition DEC {_SEEN} --targets en --candidates 2 --alphas=-4,3 --tokens 30 --out OUT",
    "collect": "collect MODEL --habit said=(?i)[e-z] --prompts PROMPTS --tokens 3 --out OUT",
    "fetch": "fetch mini --out OUT",
    "find": (
        "find MODEL --of de --sources neuron,contrast --sites *.mlp.down_proj --against en --tokens 100 --out OUT"
    ),
    "sharpen": f"sharpen {PART} --of de {_PAIR} --out OUT",
    "tune": f"tune MODEL --decomposition DEC --forget de --retain en --scale {PART} --tokens 60 --out OUT",
    "edit": f"edit {PART}=-3 {_SOME} --out OUT",
    "side-effects": "side-effects EDIT --model MODEL --kinds fact --tokens 3 --html OUT",
    "export": "export EDIT --model MODEL --out OUT",
    "export-adapter": "export EDIT --model MODEL --as adapter --out OUT",
    "push": "push EDIT someone/OUT",
    "project": f"project ADAPTER --sources neuron --keep 1 {_SOME} --out OUT",
    "project-thrice": (
        f"project ADAPTER --sources neuron --keep 1 {_SOME} --out OUT/edit --left-over OUT/left --whole OUT/whole"
    ),
    "rewrite": f"rewrite {WRITER} --token er --sizes 1,30 --fires .05 {_SOME} --out OUT",
    "graph": (
        "graph MODEL the --decomposition DEC --nodes strongest --per-site 1 --removed 2 --random-graphs 1 --out OUT"
    ),
    "graph-verify": f"graph-verify OUT {_PAIR} --removed 2",
    "graph-export": "graph-export GRAPH --page OUT",
    "graph-export-viewer": "graph-export GRAPH --viewer OUT",
    "graph-export-neuronpedia": "graph-export GRAPH --neuronpedia OUT",
    "graph-export-thrice": "graph-export GRAPH --page OUT/page.html --viewer OUT/viewer --neuronpedia OUT/np.json",
    "qk": f"qk MODEL 0 --decomposition DEC {_DOMAINS} --tokens 60 --out OUT",
    "attributions": f"attributions {PART} {_PAIR} {_DOMAINS} --tokens 40 --out OUT",
    "transcoders-train": f"transcoders-train MODEL --recipe CODERS {_DOMAINS} --out OUT",
    "transcoders-compare": (
        f"transcoders-compare TRANSCODED {_PAIR} {_DOMAINS} --tokens 64 --neurons 2 --levels .5 --jacobians 1 --out OUT"
    ),
    "measure": "measure MODEL --tokens 60 --out OUT",
    "investigate": f"investigate {PART} {_PAIR} {_SEEN} {_DOMAINS} --alphas 0 --tokens 40 --html OUT",
    "survive": (
        "survive EDIT --model MODEL --forget de --benign en --measured de,en --attacks none,bf16,knob "
        "--budgets 4 --seeds 1 --steps 2 --tokens 40 --out OUT"
    ),
    "select-rates": "select-rates --recipe RATES --seeds 1 --out OUT",
    "demo": f"demo --recipe JOB {_SEEN} --out OUT",
    "bench": "bench BENCH --out OUT",
    "lm-eval": "lm-eval EDIT --model MODEL --tasks letters --include TASKS --out OUT",
}
# They work in the folder they make: what is there before they end is read by the same command.
GO_ON = ("bench",)
# They change what is there, and leave it as it was or as it is to be: OUT begins as a copy.
IN_PLACE = {"graph-verify": "GRAPH"}
# They make several things, each whole or absent; what stands would be refused, so it is taken away before the rerun.
SEVERAL = ("evidence-twice", "project-thrice", "graph-export-thrice")
# Verbs without a row.
NOT_KILLED = {
    **dict.fromkeys(
        ("sites", "cluster-distance", "rank", "search", "generate", "graph-intervene", "reproduce"),
        "writes no file",
    ),
    "doctor": "writes no file; with --clean it removes what others left, and runs at the end of all kills",
}
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


def words_of(row: str, out: str) -> list[str]:
    """The command that makes `out`."""
    return [word.replace("OUT", out) if "OUT" in word else word for word in COMMANDS[row].split()]


def make_world(folder: Path, finished: Callable[[Sequence[str]], None]) -> None:
    """A tiny model, its decomposition, a harvest, an edit and the recipes; `finished` runs a command to its end."""
    # Its harvest names no German part: any will do.
    named = [Candidate(name, 1.0) for name in (PART, WRITER)]
    job.labelled_candidates = picks.labelled_candidates = lambda *_: (named, named)
    _write_pair(folder)
    toy = yaml.safe_load(shipped()["toys/tms-5-2"].read_text("utf8"))
    recipes = {
        "PRETRAIN": tiny.pretrain(2400),
        "DECOMPOSE": tiny.decompose(12),
        "TOY": _shorter(toy),
        "CODERS": tiny.transcoders(1280),
        "RATES": tiny.bench(["scalar", "lora_r1_local"]),
        "JOB": tiny.bench(["scalar", "lora_r1"], alphas=[0.0]),
        "BENCH": tiny.bench(["scalar", "neuron"]),
    }
    for name, values in recipes.items():
        (folder / name).write_text(yaml.safe_dump(values), "utf8")
    write_run(folder / "PUBLISHED")
    (folder / "PROMPTS").write_text("\n".join(f"{a}{b} {a}" for a in "bdfgklmn" for b in "aeio"), "utf8")
    _write_task(folder / "TASKS")
    for name, row, more in MADE:
        finished([*words_of(row, name), *more.split()])


def _write_pair(folder: Path) -> None:
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


def _write_task(folder: Path) -> None:
    """A task of lm-eval of two questions."""
    folder.mkdir()
    rows = [
        {"question": f"{w} is", "choices": [" the", " der", " of"], "answer": i} for i, w in enumerate("ab")
    ]
    data = folder / "letters.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf8")
    (folder / "letters.yaml").write_text(TASK.format(data=data), "utf8")


def _shorter(recipe: dict[str, object]) -> dict[str, object]:
    """A toy's recipe with few steps."""
    return {key: _fewer(key, value) for key, value in recipe.items()}


def _fewer(key: str, value: object) -> object:
    if isinstance(value, dict):
        return _shorter(value)
    return min(value, 20) if isinstance(value, int) and "steps" in key else value


def prepare(world: Path, row: str, out: str) -> None:
    """Put what the command changes in its place."""
    if row in IN_PLACE:
        shutil.copytree(world / IN_PLACE[row], world / out)
