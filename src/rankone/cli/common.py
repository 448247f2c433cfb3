"""What the commands share: options, and opening what they name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[str, typer.Argument(help="built-in name (mini), directory, or Hub name")]
DecompositionPath = Annotated[str, typer.Option("--decomposition", help="decomposition of the model")]
Text = Annotated[
    str, typer.Option("--text", help="builtin, a directory with a folder per domain, or a Hub data set id")
]
Clusters = Annotated[Path | None, typer.Option("--clusters", help="components from `rankone cluster`")]
Split = Annotated[str, typer.Option(help="train, validation or test")]
Out = Annotated[Path, typer.Option("--out", help="where to write; must not exist")]


def load_pair(model: str, decomposition: str, placed: bool = False) -> tuple[Any, Any, Any, Any]:
    """Model, tokenizer, decomposition and its artefact; with `placed` on the GPU, where there is one."""
    from rankone.decomposition.model import load_decomposition
    from rankone.models.loading import load_model, load_tokenizer
    from rankone.models.sources.names import ASSETS
    from rankone.runtime.device import run_device

    target = load_model(model)
    path = ASSETS / decomposition if decomposition == "mini-decomposition" else Path(decomposition)
    loaded, artifact = load_decomposition(path, target)
    if placed:
        device = run_device()
        target.to(device)  # pyright: ignore[reportArgumentType]
        loaded.to(device)
    return target, load_tokenizer(model), loaded, artifact


def listed(words: str | None) -> tuple[str, ...]:
    """The parts of a comma-separated option, without repeats."""
    return tuple(dict.fromkeys(w.strip() for w in (words or "").split(",") if w.strip()))


def run_dir(out: Path) -> Path:
    """Where the run that makes `out` keeps what it needs to go on."""
    return out.with_name(out.name + ".run")
