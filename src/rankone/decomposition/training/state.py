"""The whole state of a run as tensors, each process's part of it, whatever the layout it is saved from and put into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rankone.decomposition.parallel.sharding import like, local_part, split_of
from rankone.runtime.checkpoint import Split, State, pack_module, pack_optimizer, part_of, unpack_optimizer

if TYPE_CHECKING:
    from rankone.decomposition.training.trainer import Trainer


def state_of(trainer: Trainer, step: int) -> State:
    """Everything a resumed run needs."""
    tensors = pack_module("decomposition", trainer.decomposition)
    tensors |= pack_optimizer("optimizer", trainer.optimizer)
    splits = {name: split_of(tensor) for name, tensor in tensors.items()}
    others = _others(trainer)
    for name in others:
        splits[name] = _slots(trainer) if name.startswith("adversary.") else None
    known = {name: split for name, split in splits.items() if split is not None}
    return State(step, {name: local_part(t) for name, t in tensors.items()} | others, {}, known)


def put_state(trainer: Trainer, state: State) -> None:
    """Put a saved state back."""
    saved = state.tensors
    parameters = dict(trainer.decomposition.named_parameters())
    with torch.no_grad():
        for name, parameter in parameters.items():
            local_part(parameter).copy_(part_of(saved, f"decomposition.{name}", split_of(parameter)))
        for name, tensor in _others(trainer).items():
            split = _slots(trainer) if name.startswith("adversary.") else None
            tensor.copy_(part_of(saved, name, split))
    unpack_optimizer("optimizer", trainer.optimizer, _moments(trainer.optimizer, saved))


def _others(trainer: Trainer) -> dict[str, Tensor]:
    """What is not a parameter or a moment of one."""
    others = {f"adversary.{k}": v for k, v in trainer.adversary.tensors().items()}
    others |= {f"frequency.{k}": v for k, v in trainer.frequency.tensors().items()}
    others |= {f"reads.{k}": v for k, v in trainer.prices.tensors().items()}
    if trainer.decay is not None:
        others["decay.highest"] = trainer.decay.highest
    return others | {"firing": trainer.firing}


def _slots(trainer: Trainer) -> Split | None:
    """Which sources are on this process; None where all are."""
    adversary = trainer.adversary
    if adversary.shared or trainer.ranks.size == 1:
        return None
    owners, pool = adversary.owners, adversary.pool
    return Split(0, owners.start * pool, len(owners) * pool)


def _moments(optimizer: torch.optim.Optimizer, saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An optimiser's saved tensors, laid out as the parameters they belong to."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments = {}
    for key in saved:
        if not key.startswith("optimizer."):
            continue
        _, index, name = key.split(".", 2)
        parameter = parameters[int(index)]
        if name == "step":
            moments[key] = saved[key]
        else:
            part = part_of(saved, key, split_of(parameter))
            moments[key] = like(part.to(local_part(parameter).device), parameter)
    return moments
