"""A tiny model with a decomposition on disk, and the command line run on it inside the test's process."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import patch

import typer.main
from tests.helpers import simple_mlp

from rankone import cli
from rankone.cli import command, commands, main
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.model import save_decomposition
from rankone.models.simple_mlp import SimpleMLPForCausalLM
from rankone.runtime import progress
from rankone.runtime.progress import console

RECIPE = {
    "mixture": {"en": {"weight": 2}, "de": {"weight": 1}},
    "steps": 1,
    "initialisation": "random",
    "importance": {"width": 16, "blocks": 1, "heads": 2, "hidden": 16},
}


def tiny_model(vocab_size: int) -> SimpleMLPForCausalLM:
    """One block of width 16 with a context of 64."""
    return simple_mlp(
        vocab_size=vocab_size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
    )


def write_pair(
    folder: Path, tokenizer, vocab_size: int, model: SimpleMLPForCausalLM | None = None
) -> tuple[Path, Path]:
    """A model directory and an untrained decomposition of all its sites; of the tiny model where none is given."""
    model = tiny_model(vocab_size) if model is None else model
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    config = DecomposeConfig.model_validate(RECIPE)
    decomposition = new_decomposition(model, config)
    counts = dict(zip(decomposition.sites, decomposition.counts, strict=True))
    provenance = {"recipe": config.model_dump(), "original_subcomponents": counts}
    save_decomposition(decomposition, model, folder / "decomposition", provenance, None)
    return folder / "model", folder / "decomposition"


@cache
def parser_of(studio: bool):
    """Made from the signatures of all commands at each call: most of what a short command takes."""
    return typer.main.get_command(commands(["studio"] if studio else []))


@dataclass(frozen=True)
class Outcome:
    """Exit status and what was printed."""

    code: int
    out: str
    err: str


def rankone(*words: object, quiet: bool = True) -> Outcome:
    """Run `rankone WORDS…` in this process, tables 200 characters wide; `quiet`: what is on stderr is an error."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    width = patch.object(console, "_width", 200)
    still = patch.object(command, "report", lambda **_: progress.report(quiet))
    argv = patch.object(sys, "argv", ["rankone", *map(str, words)])
    parser = patch.object(cli, "commands", lambda named: parser_of(list(named) == ["studio"]))
    before = progress.log.level, list(progress.log.handlers), progress.log.propagate
    with width, still, argv, parser, redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        finally:
            progress.log.level, progress.log.handlers, progress.log.propagate = before
    return Outcome(code, out.getvalue(), err.getvalue())
