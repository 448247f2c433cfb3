"""Training checkpoints: a run's full state as safetensors, written atomically, resumed to the bit on CPU."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rankone.artifact import new_artifact, open_artifact, read_tensors, save_tensors, write_json
from rankone.errors import RankOneError

KIND = "checkpoint"


@dataclass(frozen=True)
class State:
    """What a run needs to go on: tensors by name, and plain values."""

    step: int
    tensors: dict[str, Tensor]
    values: dict[str, Any]


def save_checkpoint(run: Path, state: State, config_hash: str) -> Path:
    """Write `run/checkpoints/step-N` and remove the older ones once it stands."""
    folder = run / "checkpoints"
    target = folder / f"step-{state.step:07d}"
    with new_artifact(target, KIND, replace=target.exists()) as staging:
        save_tensors(staging / "state.safetensors", state.tensors)
        write_json(
            staging / "state.json", {"step": state.step, "config_hash": config_hash, "values": state.values}
        )
    for other in folder.glob("step-*"):
        if other != target:
            shutil.rmtree(other)
    return target


def load_checkpoint(run: Path, config_hash: str) -> State | None:
    """The newest checkpoint of a run, or None; one of another configuration is refused."""
    found = _steps(run)
    if not found:
        return None
    artifact = open_artifact(found[-1], KIND)
    state = artifact.json("state.json")
    if state["config_hash"] != config_hash:
        raise RankOneError(
            f"'{found[-1]}' belongs to another configuration. Use another run directory, "
            "or the recipe it was started with."
        )
    return State(state["step"], read_tensors(found[-1] / "state.safetensors"), state["values"])


def last_tensors(run: Path) -> dict[str, Tensor]:
    """The tensors of a run's newest checkpoint, whatever its configuration; RankOneError where there is none."""
    found = _steps(run)
    if not found:
        raise RankOneError(f"'{run}' holds no checkpoint. Check the path of the run directory.")
    open_artifact(found[-1], KIND)
    return read_tensors(found[-1] / "state.safetensors")


def _steps(run: Path) -> list[Path]:
    return sorted(p for p in (run / "checkpoints").glob("step-*") if re.fullmatch(r"step-\d+", p.name))


def pack_optimizer(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's tensors under `prefix.<parameter index>.<name>`."""
    packed = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            packed[f"{prefix}.{index}.{name}"] = torch.as_tensor(value)
    return packed


def unpack_optimizer(prefix: str, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put packed tensors back into an optimizer over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(prefix + "."):
            index, name = key[len(prefix) + 1 :].split(".", 1)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def pack_module(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters under `prefix.<name>`; tied ones once."""
    return {f"{prefix}.{name}": p.detach() for name, p in module.named_parameters()}


def unpack_module(prefix: str, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy packed parameters back into a module, in place."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(tensors[f"{prefix}.{name}"])


def append_metrics(run: Path, row: dict[str, Any]) -> None:
    """Add one line to the run's metrics.jsonl."""
    with (run / "metrics.jsonl").open("a", encoding="utf8") as stream:
        stream.write(json.dumps(row) + "\n")


def trim_metrics(run: Path, step: int) -> None:
    """Drop metric lines after `step`, which a resumed run will write again."""
    path = run / "metrics.jsonl"
    if path.exists():
        rows = [
            line for line in path.read_text("utf8").splitlines() if line and json.loads(line)["step"] <= step
        ]
        path.write_text("".join(row + "\n" for row in rows), "utf8")
