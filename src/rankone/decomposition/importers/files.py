"""Finding the files of a published run in a folder, whatever of it was downloaded and however it was arranged."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from rankone.core.errors import RankOneError

CONFIG = "final_config.yaml"
MODEL_CONFIG = "model_config.yaml"
TOKENIZER = "tokenizer.json"
DECOMPOSITION = re.compile(r"model_(\d+)\.(pth|pt|safetensors)")
TARGET = re.compile(r"model_step_(\d+)\.(pth|pt|safetensors)")


@dataclass(frozen=True)
class RunFiles:
    """Where the parts of a published target and its decomposition lie; None for what is not there."""

    decomposition: Path | None
    config: Path | None
    target: Path | None
    model_config: Path | None
    tokenizer: Path | None


def locate(folder: Path) -> RunFiles:
    """The parts in a folder and its subfolders; of several checkpoints of one run the last.

    Raises RankOneError for a folder with no checkpoint, and for checkpoints of several runs.
    """
    if not folder.is_dir():
        raise RankOneError(f"no folder at '{folder}'. Name the folder that holds the run's files.")
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    decomposition, target = _last(files, DECOMPOSITION, folder), _last(files, TARGET, folder)
    if decomposition is None and target is None:
        seen = ", ".join(p.relative_to(folder).as_posix() for p in files[:6]) or "nothing"
        raise RankOneError(
            f"'{folder}' holds neither a decomposition (model_N.pth) nor a target (model_step_N.pt); it holds {seen}. "
            "Sharded JAX checkpoints are not read: name a folder with torch or safetensors files."
        )
    return RunFiles(
        decomposition,
        _beside(decomposition, CONFIG),
        target,
        _only(files, MODEL_CONFIG, folder),
        _only(files, TOKENIZER, folder),
    )


def joined(source: RunFiles, target: RunFiles) -> RunFiles:
    """The decomposition of `source` with everything else from `target`, where `target` has it."""
    return RunFiles(
        source.decomposition,
        source.config,
        target.target or source.target,
        target.model_config or source.model_config,
        target.tokenizer or source.tokenizer,
    )


def read_yaml(path: Path) -> dict[str, object]:
    """The mapping in a YAML file of a published run."""
    try:
        values = yaml.safe_load(path.read_text("utf8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RankOneError(f"'{path}' is not valid YAML: {error}. Download it again.") from error
    if not isinstance(values, dict):
        raise RankOneError(f"'{path}' holds no `key: value` pairs. Download it again.")
    return values


def _last(files: list[Path], pattern: re.Pattern[str], folder: Path) -> Path | None:
    checkpoints = [(int(m.group(1)), p) for p in files if (m := pattern.fullmatch(p.name))]
    folders = {p.parent for _, p in checkpoints}
    if len(folders) > 1:
        names = ", ".join(sorted(p.relative_to(folder).as_posix() for p in folders))
        raise RankOneError(
            f"'{folder}' holds checkpoints of several runs ({names}). Name one of these folders."
        )
    return max(checkpoints)[1] if checkpoints else None


def _only(files: list[Path], name: str, folder: Path) -> Path | None:
    matches = [p for p in files if p.name == name]
    if len(matches) > 1:
        names = ", ".join(p.relative_to(folder).as_posix() for p in matches)
        raise RankOneError(f"'{folder}' holds {name} more than once ({names}). Leave one.")
    return matches[0] if matches else None


def _beside(checkpoint: Path | None, name: str) -> Path | None:
    """The file of this name in the checkpoint's folder, or above a folder `checkpoints`."""
    if checkpoint is None:
        return None
    folders = [
        checkpoint.parent,
        *([checkpoint.parents[1]] if checkpoint.parent.name == "checkpoints" else []),
    ]
    return next((f / name for f in folders if (f / name).is_file()), None)
