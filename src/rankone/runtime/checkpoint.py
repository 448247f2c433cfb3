"""Training checkpoints: a run's full state as safetensors, written atomically, resumed to the bit on CPU.

Of several processes each writes a file of its own: its part of every tensor that is split among them, and the first one
also what all of them hold. Reading takes from all files what is asked for, so another number of processes can go on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import torch
from pydantic import Field, JsonValue
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from rankone.core.artifact import (
    new_artifact,
    open_artifact,
    read_json,
    remove_artifact,
    write_json,
    write_text,
)
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.manifest import artefact_kind
from rankone.core.tensors import save_tensors
from rankone.runtime.distributed import Ranks, current

KIND, STATE = "checkpoint", "state.json"


class Split(NamedTuple):
    """A process's part of a tensor: `length` entries of axis `dim` from `first` on."""

    dim: int
    first: int
    length: int


@dataclass(frozen=True)
class State:
    """What a run needs to go on: tensors by name, and plain values.

    `splits` names the tensors of which this process has a part only; parts follow each other by rank.
    """

    step: int
    tensors: Mapping[str, Tensor]
    values: Mapping[str, JsonValue]
    splits: dict[str, Split] = field(default_factory=dict)


class _StateFile(Config):
    """`state.json`. splits: the axis of every tensor that is split."""

    step: int
    config_hash: str
    values: dict[str, JsonValue] = Field(default_factory=dict)
    splits: dict[str, int] = Field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Self:
        """That of a checkpoint, all of whose files are whole."""
        return cls.checked(open_artifact(folder, KIND).json(STATE), str(folder / STATE))


class SavedTensors(Mapping[str, Tensor]):
    """The tensors of a checkpoint by name, read when asked for and put together from the files of all processes."""

    def __init__(self, folder: Path, dims: dict[str, int]) -> None:
        self._files = sorted(folder.glob("state*.safetensors"))
        self._dims = dims
        with _opened(self._files[0]) as first:
            self._names = list(first.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        files = self._files if name in self._dims else self._files[:1]
        parts = [_read(path, name) for path in files]
        # Copied: the checkpoint goes when the next one stands, and Windows removes no file that is mapped.
        return torch.cat(parts, self._dims[name]) if len(parts) > 1 else parts[0].clone()

    def part(self, name: str, split: Split) -> Tensor:
        """One process's part of a tensor, from the files that have some of it."""
        if name not in self._dims:
            return self[name].narrow(*split)
        if split.dim != self._dims[name]:
            return self[name].narrow(*split)
        parts, at = [], 0
        for path in self._files:
            with _opened(path) as file:
                piece = file.get_slice(name)
                length = piece.get_shape()[split.dim]
                low, high = max(split.first - at, 0), min(split.first + split.length - at, length)
                if low < high:
                    parts.append(piece[(*[slice(None)] * split.dim, slice(low, high))])
                at += length
        return torch.cat(parts, split.dim) if parts else self[name].narrow(split.dim, 0, 0)


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, "pt")
    except (SafetensorError, OSError) as error:
        raise RankOneError(f"cannot read tensors from '{path}': {error}.") from error


def _read(path: Path, name: str) -> Tensor:
    with _opened(path) as file:
        return file.get_tensor(name)


def part_of(tensors: Mapping[str, Tensor], name: str, split: Split | None) -> Tensor:
    """The part of a saved tensor that a process asks for; all of it without a split."""
    if split is None:
        return tensors[name]
    if isinstance(tensors, SavedTensors):
        return tensors.part(name, split)
    return tensors[name].narrow(*split)


def save_checkpoint(run: Path, state: State, config_hash: str) -> Path:
    """Write `run/checkpoints/step-N` and remove the older ones once it stands; called by every process of the run."""
    folder, ranks = run / "checkpoints", current()
    target = folder / f"step-{state.step:07d}"
    with _staging(target, ranks) as staging:
        save_tensors(staging / _file_name(ranks), dict(state.tensors))
        if ranks.first:
            dims = {name: split.dim for name, split in state.splits.items()}
            about = _StateFile(
                step=state.step, config_hash=config_hash, values=dict(state.values), splits=dims
            )
            write_json(staging / STATE, about.model_dump())
    if ranks.first:
        for other in _steps(run):
            if other != target and artefact_kind(other) == KIND:
                remove_artifact(other, KIND)
    return target


def _file_name(ranks: Ranks) -> str:
    return (
        "state.safetensors" if ranks.size == 1 else f"state-{ranks.rank:05d}-of-{ranks.size:05d}.safetensors"
    )


@contextmanager
def _staging(target: Path, ranks: Ranks) -> Iterator[Path]:
    """One staging folder for all processes, which becomes `target` when all have written to it."""
    if not ranks.first:
        yield Path(ranks.on_first(str))
        ranks.barrier()
        ranks.barrier()
        return
    with new_artifact(target, KIND, replace=target.exists()) as staging:
        ranks.on_first(lambda: str(staging))
        yield staging
        ranks.barrier()
    ranks.barrier()


def load_checkpoint(run: Path, config_hash: str) -> State | None:
    """The newest checkpoint of a run, or None; one of another configuration is refused. Called by every process."""
    newest = current().on_first(lambda: _verified(run, config_hash))
    if newest is None:
        return None
    folder = run / "checkpoints" / newest
    state = _StateFile.checked(read_json(folder / STATE), str(folder / STATE))
    return State(state.step, SavedTensors(folder, state.splits), state.values)


def _verified(run: Path, config_hash: str) -> str | None:
    """Name of the newest checkpoint, all of whose files are whole."""
    steps = _steps(run)
    if not steps:
        return None
    if _StateFile.of(steps[-1]).config_hash != config_hash:
        raise RankOneError(
            f"'{steps[-1]}' belongs to another configuration. Use another run directory, "
            "or the recipe it was started with."
        )
    return steps[-1].name


def last_tensors(run: Path) -> Mapping[str, Tensor]:
    """The tensors of a run's newest checkpoint, whatever its configuration; RankOneError where there is none."""
    steps = _steps(run)
    if not steps:
        raise RankOneError(f"'{run}' holds no checkpoint. Check the path of the run directory.")
    return SavedTensors(steps[-1], _StateFile.of(steps[-1]).splits)


def _steps(run: Path) -> list[Path]:
    return sorted(p for p in (run / "checkpoints").glob("step-*") if re.fullmatch(r"step-\d+", p.name))


def pack_optimizer(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's tensors under `prefix.<parameter index>.<name>`."""
    packed = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            packed[f"{prefix}.{index}.{name}"] = torch.as_tensor(value)
    return packed


def unpack_optimizer(prefix: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put packed tensors back into an optimizer over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key in tensors:
        if key.startswith(prefix + "."):
            index, name = key[len(prefix) + 1 :].split(".", 1)
            state.setdefault(int(index), {})[name] = tensors[key]
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def pack_module(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters under `prefix.<name>`; tied ones once."""
    return {f"{prefix}.{name}": p.detach() for name, p in module.named_parameters()}


def unpack_module(prefix: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy packed parameters back into a module, in place."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(tensors[f"{prefix}.{name}"])


def append_metrics(run: Path, row: Mapping[str, JsonValue]) -> None:
    """Add one line to the run's metrics.jsonl."""
    with (run / "metrics.jsonl").open("a", encoding="utf8") as stream:
        stream.write(json.dumps(dict(row)) + "\n")


def trim_metrics(run: Path, step: int) -> None:
    """Drop metric lines after `step`, which a resumed run will write again, and a last one that was cut off."""
    path = run / "metrics.jsonl"
    if path.exists():
        whole = path.read_text("utf8").rpartition("\n")[0].splitlines()
        rows = [line for line in whole if line and json.loads(line)["step"] <= step]
        write_text(path, "".join(row + "\n" for row in rows))
