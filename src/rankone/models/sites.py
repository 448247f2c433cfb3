"""Sites: the weight matrices inside a model's transformer blocks, found in any Hugging Face causal LM.

A site is named by its module path. The embedding and whatever shares its memory (a tied unembedding) is
never a site: an edit of one would silently be an edit of the other. The same goes for a weight that two layers
share; `left_out` gives the reason for every weight inside the blocks that is not a site.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from rankone.core.errors import RankOneError, nearest
from rankone.core.tensors import is_plain
from rankone.models.anatomy import holds_experts, in_order, is_plain_linear

_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, eq=False)
class Site:
    """One weight matrix: y = W x, W [d_out, d_in]; `transposed` where the module stores Wᵀ (Conv1D)."""

    name: str
    module: nn.Module
    d_in: int
    d_out: int
    transposed: bool


def find_sites(model: nn.Module, patterns: Sequence[str] | None = None) -> list[Site]:
    """All sites whose module path matches one of the fnmatch `patterns` (None: all), layer by layer.

    Sorted by module path with numbers compared as numbers (`h.2` before `h.10`). Raises RankOneError for a
    pattern that matches nothing, for quantised weights, and for a model without any site.
    """
    sites = _all_sites(model)
    if patterns is None:
        return sites
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if not patterns:
        raise RankOneError("the list of site patterns is empty. Use ['*'] for all sites.")
    chosen: set[str] = set()
    for pattern in patterns:
        hits = {site.name for site in sites if fnmatchcase(site.name, pattern)}
        if not hits:
            raise _no_match(model, pattern, sites)
        chosen |= hits
    return [site for site in sites if site.name in chosen]


def site_named(model: nn.Module, name: str) -> Site:
    """The site at exactly this module path; RankOneError says why there is none, with the nearest names."""
    return sites_named(model, [name])[name]


def sites_named(model: nn.Module, names: Sequence[str]) -> dict[str, Site]:
    """Several sites by module path, in the order asked for; errors as in `site_named`."""
    refuse_wrapped(model)
    sites = _all_sites(model)
    known = {site.name: site for site in sites}
    for name in names:
        if name not in known:
            raise _no_match(model, name, sites)
    return {name: known[name] for name in names}


def weight_of(site: Site) -> Float[Tensor, "d_out d_in"]:
    """The site's weight as W [d_out, d_in]: a detached view, so writing into it changes the model."""
    weight = site.module.get_parameter("weight").detach()
    return weight.T if site.transposed else weight


def shares_memory(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors overlap in memory (by address range: tensors of one file may share a storage)."""
    if a is b:
        return True
    if a.is_meta or b.is_meta or a.device != b.device:
        return False
    (start_a, end_a), (start_b, end_b) = _address_range(a), _address_range(b)
    return start_a < end_b and start_b < end_a


def _address_range(tensor: Tensor) -> tuple[int, int]:
    """First byte and the byte after the last one; both equal for an empty tensor."""
    if tensor.numel() == 0:
        return tensor.data_ptr(), tensor.data_ptr()
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


def left_out(model: nn.Module) -> dict[str, str]:
    """Weights inside the blocks that are not sites, by module path (and parameter), with the reason of each."""
    return _linear_maps(model)[1] | _other_weights(model)


def _all_sites(model: nn.Module) -> list[Site]:
    sites, reasons = _linear_maps(model)
    if not sites:
        others = {**reasons, **_other_weights(model)}
        because = "".join(f" '{name}': {reason}" for name, reason in list(others.items())[:1])
        raise RankOneError(
            f"{type(model).__name__} has no nn.Linear or Conv1D inside a list of blocks (nn.ModuleList): "
            f"RankOne cannot tell what to decompose or edit in it.{because}"
        )
    return sorted(sites, key=lambda site: in_order(site.name))


def _linear_maps(model: nn.Module) -> tuple[list[Site], dict[str, str]]:
    """Every linear map inside the blocks: as a site, or with the reason why it is none."""
    lists = {name for name, m in model.named_modules() if isinstance(m, nn.ModuleList)}
    paths = _paths_of_modules(model)
    maps = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and _inside(name, lists)
    }
    embeddings = {name: m.weight for name, m in model.named_modules() if isinstance(m, nn.Embedding)}
    known = {n: m.weight for n, m in maps.items()} | embeddings
    shared = _sharing(known | _other_tensors(model, known))
    sites, reasons = [], {}
    for name, module in maps.items():
        reason = _unfit(name, module, paths[module], shared.get(name, []), embeddings)
        if reason:
            reasons[name] = reason
        else:
            sites.append(_site(name, module))
    return sites, reasons


def _other_tensors(model: nn.Module, known: Collection[str]) -> dict[str, Tensor]:
    """All parameters and buffers of the model but the weights of known modules, by name."""
    tensors = chain(
        model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    )
    return {name: tensor for name, tensor in tensors if name.removesuffix(".weight") not in known}


def _unfit(
    name: str, module: nn.Module, paths: list[str], shared: list[str], embeddings: dict[str, Tensor]
) -> str | None:
    """Why a linear map inside a block cannot be a site, or None."""
    tied = [other for other in shared if other in embeddings]
    others = [path for path in paths if path != name] or shared
    if tied:
        return (
            f"its weight is tied to the embedding '{tied[0]}', so changing it would change the embedding too."
        )
    if others:
        return f"its weight is shared with '{others[0]}', so changing it would change both."
    if "weight" not in module._parameters:
        return "its weight is computed from others (a parametrisation). Remove the parametrisation first."
    if type(module).forward not in (nn.Linear.forward, Conv1D.forward) and not is_plain_linear(module):
        return f"it is a {type(module).__name__} with a forward of its own, not plainly y = W x + b."
    return None


def _other_weights(model: nn.Module) -> dict[str, str]:
    """Matrices and stacks of matrices inside the blocks that belong to no nn.Linear or Conv1D."""
    lists = {name for name, m in model.named_modules() if isinstance(m, nn.ModuleList)}
    others = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D) or not _inside(name, lists):
            continue
        for weight, parameter in module.named_parameters(recurse=False):
            if parameter.ndim >= 2:
                others[f"{name}.{weight}"] = _why_other(module, parameter)
    return others


def _why_other(module: nn.Module, parameter: Tensor) -> str:
    kind = type(module).__name__
    if holds_experts(module) and parameter.ndim == 3:
        return (
            f"{len(parameter)} experts are fused into one {parameter.ndim}-D parameter of {kind}; "
            "only nn.Linear and Conv1D can be masked. Attention and dense or shared MLPs can be decomposed."
        )
    return f"it is a parameter of {kind}, which is neither nn.Linear nor Conv1D."


def _paths_of_modules(model: nn.Module) -> dict[nn.Module, list[str]]:
    """All paths of each module: more than one where the model calls the same module in several places."""
    paths: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        paths.setdefault(module, []).append(name)
    return paths


def _sharing(tensors: dict[str, Tensor]) -> dict[str, list[str]]:
    """For each name the others whose memory overlaps its own; names that share with none are absent."""
    groups: dict[str, list[str]] = {}
    by_identity: dict[int, list[str]] = {}
    ranges: list[tuple[str, int, int, str]] = []
    for name, tensor in tensors.items():
        by_identity.setdefault(id(tensor), []).append(name)
        if not tensor.is_meta:
            ranges.append((str(tensor.device), *_address_range(tensor), name))
    for names in by_identity.values():
        for name in names:
            groups[name] = [other for other in names if other != name]
    # In the order of their starts a tensor can only overlap those that began before it and have not ended.
    open_ranges: list[tuple[str, int, int, str]] = []
    for device, start, end, name in sorted(ranges):
        open_ranges = [o for o in open_ranges if o[0] == device and o[2] > start]
        for *_, other in open_ranges:
            if start < end and other not in groups[name]:
                groups[name].append(other)
                groups[other].append(name)
        open_ranges.append((device, start, end, name))
    return {name: others for name, others in groups.items() if others}


def _site(name: str, module: nn.Linear | Conv1D) -> Site:
    weight = module.weight
    if weight.dtype not in _DTYPES or weight.ndim != 2 or not is_plain(weight):
        raise RankOneError(
            f"the weight of '{name}' is quantised or packed ({type(weight.data).__name__} of {weight.dtype}, shape "
            f"{tuple(module.weight.shape)}). Load the model without quantisation."
        )
    transposed = isinstance(module, Conv1D)
    d_out, d_in = reversed(module.weight.shape) if transposed else module.weight.shape
    return Site(name, module, d_in, d_out, transposed)


def _inside(name: str, lists: set[str]) -> bool:
    """Whether one of the paths above `name` is a ModuleList, so that `name` lies in a block."""
    parts = name.split(".")
    return any(".".join(parts[:i]) in lists for i in range(1, len(parts)))


def _no_match(model: nn.Module, wanted: str, sites: list[Site]) -> RankOneError:
    """The error for a name or pattern without a site: what is there instead, and what is nearest."""
    names = [site.name for site in sites]
    try:
        module = model.get_submodule(wanted) if wanted else None
    except AttributeError:
        module = None
    reasons = left_out(model)
    refused = [name for name in reasons if fnmatchcase(name, wanted)]
    if refused:
        return RankOneError(f"'{refused[0]}' is not a site: {reasons[refused[0]]}")
    if module is not None:
        return RankOneError(f"'{wanted}' is not a site: {_why_no_site(model, module)}")
    offered = nearest(wanted, names) or f" The model has {', '.join(names[:3])}, …"
    return RankOneError(f"no site matches '{wanted}' in {type(model).__name__}.{offered}")


def refuse_wrapped(model: nn.Module) -> None:
    """Raise for what torch.compile makes of a model: its sites have other names, and an edit of them another effect."""
    if isinstance(getattr(model, "_orig_mod", None), nn.Module):
        raise RankOneError(
            f"this is torch.compile's wrapper of {type(model._orig_mod).__name__}: give the model itself (model._orig_mod), "
            "and compile it after the edit."
        )


def _why_no_site(model: nn.Module, module: nn.Module) -> str:
    weight = getattr(module, "weight", None)
    embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    if isinstance(module, nn.Embedding):
        return "it is an embedding. Edits cover the linear maps inside the blocks."
    if isinstance(weight, Tensor) and any(shares_memory(weight, e.weight) for e in embeddings):
        return (
            "its weight is tied to the embedding, so changing it would change the embedding too. "
            "Edits cover the linear maps inside the blocks."
        )
    if isinstance(module, nn.Linear | Conv1D):
        return (
            "it lies outside the transformer blocks (unembedding or head). Edits cover the maps inside them."
        )
    return f"it is a {type(module).__name__}, not a linear map."
