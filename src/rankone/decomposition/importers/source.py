"""Where a published run comes from: a local folder, the public files of a W&B run, or a Hub repository."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rankone.core.errors import RankOneError, first_line
from rankone.core.optional import optional
from rankone.decomposition.importers.files import (
    CONFIG,
    DECOMPOSITION,
    MODEL_CONFIG,
    TARGET,
    TOKENIZER,
    RunFiles,
    joined,
    locate,
    read_yaml,
)
from rankone.runtime import hub
from rankone.runtime.progress import log

WANDB = re.compile(
    r"(?:wandb:|https://(?:www\.)?wandb\.ai/)([\w.-]+)/([\w.-]+)/(?:runs/)?([\w-]+)(?:[/?].*)?"
)
HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
WANTED = (CONFIG, MODEL_CONFIG, TOKENIZER)


@dataclass(frozen=True)
class WandbRun:
    """The path of a W&B run."""

    entity: str
    project: str
    run: str

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}/{self.run}"


class _RemoteFile(Protocol):
    name: str

    def download(self, root: str, exist_ok: bool) -> object: ...


def open_source(source: str, target: str | None = None) -> RunFiles:
    """The files of a published run, downloaded first where `source` (or `target`) is not a local folder.

    Without `target`, a decomposition whose folder lacks the target's configuration takes it from the W&B run that its own
    configuration names, if `source` was downloaded too: nothing local makes RankOne use the network.
    """
    files = locate(local_folder(source))
    if target is not None:
        return joined(files, locate(local_folder(target)))
    if files.model_config is None and files.config is not None:
        named = str(read_yaml(files.config).get("pretrained_model_name", ""))
        if WANDB.fullmatch(named):
            if Path(source).exists():
                raise RankOneError(
                    f"'{source}' lacks the target's model_config.yaml. Its target is '{named}': add "
                    f"--target {named}, or --target FOLDER with that run's files."
                )
            return joined(files, locate(local_folder(named)))
    return files


def require_source(source: str) -> None:
    """RankOneError for what names no published run, and for a folder without one; nothing is downloaded."""
    path = Path(source).expanduser()
    if path.is_dir():
        locate(path)
    elif path.is_file() or not (WANDB.fullmatch(source) or _on_hub(source, path)):
        local_folder(source)
    elif _on_hub(source, path) and not hub.cached(source, CONFIG) and not hub.reachable():
        raise RankOneError(
            f"'{source}' is not a folder, and the Hub, where it would be a repository, cannot be reached. Check the path or "
            "the network."
        )


def _on_hub(source: str, path: Path) -> bool:
    return HUB.fullmatch(source) is not None and not path.parent.is_dir()


def local_folder(source: str) -> Path:
    """`source` itself if it is a folder, else a local copy of what it names; RankOneError where it names nothing."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise RankOneError(
            f"'{source}' is a file. Name the folder it lies in: its configuration is needed too."
        )
    if match := WANDB.fullmatch(source):
        return _from_wandb(WandbRun(*match.groups()))
    if _on_hub(source, path):
        return _from_hub(source)
    raise RankOneError(
        f"no published run at '{source}'. Name a folder, a W&B run (wandb:ENTITY/PROJECT/runs/ID) or a Hub "
        "repository (OWNER/NAME)."
    )


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = ["*.yaml", f"*{TOKENIZER}", "*.pth", "*.pt", "*.safetensors"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise RankOneError(f"cannot download the Hub repository '{name}': {first_line(error)}") from error


def _from_wandb(run: WandbRun) -> Path:
    """The run's configuration, tokenizer and last checkpoint, kept in the user's cache."""
    wandb = optional("wandb", "wandb", f"reading '{run}' from W&B (or name the folder of a download)")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "rankone" / "wandb" / run.entity / run.project / run.run
    try:
        for file in _wanted(list(wandb.Api().run(str(run)).files())):
            log.info(f"{run}: {file.name}")
            file.download(root=str(folder), exist_ok=True)
    except Exception as error:  # the client raises errors of many types, requests' among them
        raise RankOneError(f"cannot download the W&B run '{run}': {first_line(error)}") from error
    return folder


def _wanted(files: list[_RemoteFile]) -> list[_RemoteFile]:
    """Configurations, tokenizer, and the last checkpoint of each kind among a run's files."""
    names = {file.name: file.name.rpartition("/")[2] for file in files}
    chosen = [file for file in files if names[file.name] in WANTED]
    for pattern in (DECOMPOSITION, TARGET):
        steps = [(int(m.group(1)), f.name, f) for f in files if (m := pattern.fullmatch(names[f.name]))]
        chosen += [max(steps, key=lambda s: s[:2])[2]] if steps else []
    return chosen
