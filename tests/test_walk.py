"""The commands of README and docs in the order they are printed, as a user types them, in one folder per document.

A placeholder (MODEL, DIR) stands for something small; `http://localhost:8000/v1` is a server of the test. What is not run
here is named in NOT_RUN, with its reason; test_docs.py parses that too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from tests.helpers import simple_mlp
from tests.labels.server import ok, serving
from tests.test_docs import ROOT, program_arguments, shell_lines
from tests.tiny import RECIPE

from rankone.models.sources.names import ASSETS
from rankone.text.sources.builtin import BuiltinCorpus

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# The beginning of a command → why it is not run as it is printed.
NOT_RUN = {
    "demo --model smollm2": "brings a model of 135M over the network and takes half an hour; tests/experiments/real_model",
    "fetch smollm2": "brings a model of 135M over the network; tests/models/sources",
    "find runs/smollm2": "needs that model; tests/edits/finding",
    "pretrain": "hours of training; tests/models/test_pretraining.py",
    "decompose runs/": "hours of training; tests/cli/test_torchrun.py runs the command on a small model",
    "measure runs/mini-without-de": "measures what the command before it trained",
    "select-rates": "hours of fits; tests/experiments",
    "import wandb:": "downloads from W&B; tests/decomposition/importers",
    "import downloads/": "reads what was downloaded; tests/decomposition/importers",
    "evidence runs/vpd-67m": "needs what was imported",
    "rank runs/vpd-67m": "needs what was imported",
    # torchrun on several GPUs or machines: tests/cli/test_torchrun.py, with two processes
}
SERVER = "http://localhost:8000/v1"


def typed(document: Path) -> list[list[str]]:
    """Words of every command of a document."""
    lines = shell_lines(document.read_text("utf8"))
    lines = [line for line in lines if not line.startswith("torchrun")]
    return [words for line in lines for words in program_arguments(line.partition(" #")[0])]


def reason(words: list[str]) -> str:
    """Why a command is not run; '' for one that is."""
    return next((why for start, why in NOT_RUN.items() if " ".join(words).startswith(start)), "")


def answer(body: dict) -> tuple:
    """A label for a request for one; for a judgement the windows that are marked."""
    if "numbers" in json.dumps(body["response_format"]):
        lines = body["messages"][1]["content"].split("\n")
        return ok({"numbers": [int(x.split(".")[0]) for x in lines if re.match(r"\d+\. .*<<", x)]})
    return ok()


def made_by(words: list[str]) -> list[str]:
    """The folders that a command makes."""
    return [b for a, b in pairwise(words) if a in ("--out", "--save")]


def own_things(folder: Path, tokenizer) -> None:
    """What a user has: a model of twelve layers, a recipe, text by domain, an artefact, the repository's recipes."""
    model = simple_mlp(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=12,
        num_attention_heads=2,
        intermediate_size=24,
    )
    model.save_pretrained(folder / "MODEL")
    tokenizer.save_pretrained(folder / "MODEL")
    (folder / "RECIPE").write_text(yaml.safe_dump(RECIPE), "utf8")
    corpus = BuiltinCorpus()
    for domain in corpus.domains():
        (folder / "DIR" / domain).mkdir(parents=True)
        for split in ("train", "validation", "test"):
            text = "\n\n".join(corpus.documents(domain, split))
            (folder / "DIR" / domain / f"own.{split}.txt").write_text(text, "utf8")
    shutil.copytree(ASSETS / "mini-decomposition", folder / "runs" / "fr")
    (folder / "tmp").mkdir()
    (folder / "TEXT").symlink_to(folder / "DIR")
    (folder / "recipes").symlink_to(ROOT / "recipes")


def bring(words: list[str], folder: Path, before: list[Path]) -> None:
    """What a command reads and an earlier document made, as the reader of several has it in one folder."""
    for word in words:
        if word.startswith("runs/") and word not in made_by(words) and not (folder / word).exists():
            found = next((one / word for one in before if (one / word).exists()), None)
            if found is not None:
                shutil.copytree(found, folder / word)


def again(words: list[str], folder: Path, ran: dict[str, Path]) -> bool:
    """Whether the same command ran for another document; then what it made is copied."""
    before = ran.get(" ".join(words))
    if before is None or not all((before / one).is_dir() for one in made_by(words)):
        return False
    for one in made_by(words):
        shutil.copytree(before / one, folder / one, dirs_exist_ok=True)
    return True


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_command_does_what_it_says(tmp_path: Path, tokenizer):
    environment = {**os.environ, "COLUMNS": "80", "HF_HUB_OFFLINE": "1"}
    ran: dict[str, Path] = {}
    wrong: list[str] = []
    folders: list[Path] = []
    with serving(answer) as (url, _):
        for document in DOCUMENTS:
            folder = tmp_path / document.stem
            folder.mkdir()
            own_things(folder, tokenizer)
            for words in typed(document):
                if reason(words) or again(words, folder, ran):
                    continue
                bring(words, folder, folders)
                environment["TMPDIR"] = str(folder / "tmp")
                command = [sys.executable, "-m", "rankone", *(url if w == SERVER else w for w in words)]
                done = subprocess.run(
                    command, capture_output=True, text=True, cwd=folder, env=environment, check=False
                )
                said = f"{document.name}: rankone {' '.join(words)}"
                sys.stdout.write(f"{said}\n")
                rules = [line for line in done.stdout.splitlines() if line.startswith("──")]
                if done.returncode != 0 or not done.stdout.strip() or "Traceback" in done.stderr:
                    wrong.append(f"{said}\n{done.stdout[-300:]}\n{done.stderr[-1500:]}")
                elif any(len(line) > 80 for line in rules):
                    wrong.append(f"{said}: a table wider than 80 columns")
                ran[" ".join(words)] = folder
            folders.append(folder)
    assert not wrong, "\n\n".join(wrong)
    assert (tmp_path / "README" / "page.html").is_file()
    assert (tmp_path / "README" / "runs" / "german-lora" / "adapter_config.json").is_file()


def test_what_is_not_run_is_printed_somewhere():
    every = [" ".join(words) for document in DOCUMENTS for words in typed(document)]
    assert len(every) > 50
    assert [start for start in NOT_RUN if not any(line.startswith(start) for line in every)] == []
    run = {line.split()[0] for line in every if not reason(line.split())}
    assert run >= {
        "sites",
        "rank",
        "find",
        "edit",
        "tune",
        "export",
        "search",
        "show",
        "cluster",
        "label",
        "picks",
    }
