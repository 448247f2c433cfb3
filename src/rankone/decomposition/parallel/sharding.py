"""FSDP2: every process keeps a share of U, V, the importance function, their gradients and their optimiser.

A site's V and U, each block of an importance transformer and what is left of the importance function are gathered for the
length of a forward, and again for the backward. Gradients are summed, not averaged: every process already divides its
loss by the rows of all.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Replicate

from rankone.decomposition.importance.function import ImportanceFunction
from rankone.decomposition.importance.registry import build_importance
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.decomposition.parallel.gathered import gathered
from rankone.parts.naming import site_key
from rankone.runtime.checkpoint import Split


def shard(model: DecomposedModel, device: torch.device, size: int) -> None:
    """Distribute the parameters of the decomposition of `model`, whose sites must be in place."""
    # Nothing changes their outputs in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh, decomposition = init_device_mesh(device.type, (size,)), model.decomposition
    for name, site in zip(decomposition.sites, model.modules, strict=True):
        _shard(site, mesh, set(site.base.parameters()))
        decomposition.V[site_key(name)], decomposition.U[site_key(name)] = site.V, site.U
    for layer in stacked(decomposition.importance):
        _shard(layer, mesh)
    _shard(decomposition.importance, mesh)


def stacked(importance: ImportanceFunction) -> Iterator[nn.Module]:
    """The modules an importance function runs one after the other or side by side: its blocks, or its MLPs by site."""
    for child in importance.children():
        if isinstance(child, nn.ModuleList):
            yield from child


def _shard(module: nn.Module, mesh: DeviceMesh, ignored: set[nn.Parameter] | None = None) -> None:
    sharded = fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=ignored)
    assert isinstance(sharded, FSDPModule)
    sharded.set_gradient_divide_factor(1.0)
    # Else the factor is multiplied in by an operation that gloo does not have.
    sharded.set_force_sum_reduction_for_comms(True)


def local_part(tensor: Tensor) -> Tensor:
    """The part of a tensor that is on this process; changes of it are changes of the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def split_of(tensor: Tensor) -> Split | None:
    """Which part of a tensor `local_part` gives; None if all of it."""
    if not isinstance(tensor, DTensor):
        return None
    (placement,) = tensor.placements
    dim: int = placement.dim  # pyright: ignore[reportAttributeAccessIssue]
    mesh = tensor.device_mesh
    # As torch.chunk: all of one size but the last.
    size = -(-tensor.shape[dim] // mesh.size())
    first = min(mesh.get_local_rank() * size, tensor.shape[dim])
    return Split(dim, first, min(size, tensor.shape[dim] - first))


def like(part: Tensor, parameter: Tensor) -> Tensor:
    """A tensor laid out as `parameter` from this process's part of it."""
    if not isinstance(parameter, DTensor):
        return part
    return DTensor.from_local(
        part, parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
    )


def beside(parameter: Tensor, values: Tensor) -> Tensor:
    """Values, whole on every process, as something that can be multiplied into a parameter."""
    if not isinstance(parameter, DTensor):
        return values
    return DTensor.from_local(values, parameter.device_mesh, [Replicate()])


def consolidated(decomposition: Decomposition) -> Decomposition:
    """The decomposition with all parameters whole, on the CPU; every process has to call it."""
    if not any(isinstance(p, DTensor) for p in decomposition.parameters()):
        return decomposition.cpu()
    whole = {name: gathered(p.detach()).cpu() for name, p in decomposition.named_parameters()}
    factors = {s: (whole[f"V.{site_key(s)}"], whole[f"U.{site_key(s)}"]) for s in decomposition.sites}
    old = decomposition.importance
    copy = Decomposition(factors, build_importance(old.config, old.widths, old.counts), decomposition.indices)
    copy.load_state_dict(whole)
    return copy
