"""Whether masking a model's sites does what it says: every site is run, once, and its weight read nowhere else.

A wrap that a model goes around would train to nothing without any error. So before a run begins the model is tried
on a few random tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.decomposition.masking.masking import Masking, MaskingInForce, SiteMask
from rankone.decomposition.site import DecomposedSite, installed
from rankone.models.sites import Site
from rankone.models.soundness import probe_ids, require_causal, require_plain_weights

ROWS, LENGTH = 2, 5
_RELATIVE = 1e-3


def check_wrap(target: PreTrainedModel, sites: Sequence[Site]) -> None:
    """Raise RankOneError, naming the sites, unless masks at all `sites` of `target` reach its output.

    Refused: weights without values (meta device), a forward without logits, sites that the forward never runs,
    runs several times, runs on a part of the positions or with other arguments than one tensor, and sites whose
    weight is read past the wrap. Three forwards of ten tokens.
    """
    require_plain_weights(target)
    ids = probe_ids(target, ROWS, LENGTH)
    with torch.no_grad():
        clean = _logits(target, ids)
    require_causal(target)
    in_force = MaskingInForce()
    with installed(target, {s.name: _nothing(s) for s in sites}, in_force) as placed:
        with torch.no_grad():
            again, calls = _watched_run(target, ids, placed)
        if not equal_outputs(again, clean):
            raise RankOneError(
                f"{type(target).__name__} gives other logits when it runs again: it is random. Is it in eval mode?"
            )
        _refuse_calls(calls, ids)
        past = _read_past(target, ids, placed, in_force)
    _refuse_past(past)
    never = [name for name, shapes in calls.items() if not shapes]
    if never:
        raise RankOneError(
            f"the forward of {type(target).__name__} never runs '{never[0]}' ({len(never)} such sites: "
            f"{', '.join(never[:5])}). Leave them out of `sites`."
        )


def equal_outputs(one: Tensor, other: Tensor) -> bool:
    """Equal to the bit on a CPU; elsewhere up to kernels that add in no fixed order (mixtures of experts)."""
    allowed = 0.0 if other.device.type == "cpu" else _RELATIVE * other.abs().max().item()
    return (one - other).abs().max().item() <= allowed


def _nothing(site: Site) -> tuple[nn.Parameter, nn.Parameter]:
    """One subcomponent of zeros, like the site's weight."""
    like: dict[str, Any] = {"device": site.module.weight.device, "dtype": site.module.weight.dtype}
    return nn.Parameter(torch.zeros(site.d_in, 1, **like)), nn.Parameter(torch.zeros(1, site.d_out, **like))


def _logits(target: PreTrainedModel, ids: Tensor) -> Float[Tensor, "b t vocab"]:
    output = target(input_ids=ids, use_cache=False)
    logits = getattr(output, "logits", None)
    if not isinstance(logits, Tensor) or logits.shape[:2] != ids.shape:
        raise RankOneError(
            f"the forward of {type(target).__name__} gives no logits per position. Load a causal language model."
        )
    return logits


Calls = dict[str, list[tuple[int, ...]]]


def _watched_run(
    target: PreTrainedModel, ids: Tensor, placed: dict[str, DecomposedSite]
) -> tuple[Float[Tensor, "b t vocab"], Calls]:
    """Logits without masks, and the leading shapes of each site's calls."""
    calls: Calls = {name: [] for name in placed}
    try:
        with ExitStack() as hooks:
            for name, module in placed.items():
                hook = module.register_forward_pre_hook(_watch(name, calls), with_kwargs=True)
                hooks.enter_context(hook)
            return _logits(target, ids), calls
    except (AttributeError, TypeError, RuntimeError, ValueError) as error:
        raise RankOneError(
            f"{type(target).__name__} does not run with its layers wrapped ({error}): it uses more of one than its output, "
            f"weight and bias. Leave out of `sites` what it uses so; those asked for begin with '{next(iter(placed))}'."
        ) from error


def _read_past(
    target: PreTrainedModel, ids: Tensor, placed: dict[str, DecomposedSite], in_force: MaskingInForce
) -> list[str]:
    """Sites whose weight reaches the logits past the wrap.

    With masks and delta off a site does not use its weight, so whatever gradient the weight gets came another way.
    """
    weights = {name: module.weight for name, module in placed.items()}
    flags = [weight.requires_grad for weight in weights.values()]
    try:
        for weight in weights.values():
            weight.requires_grad_(True)
        nothing = {name: SiteMask(weight.new_zeros(1)) for name, weight in weights.items()}
        with torch.enable_grad(), in_force.put(Masking(tuple(ids.shape[:2]), nothing)):
            logits = _logits(target, ids)
        if not logits.requires_grad:
            return []
        gradients = torch.autograd.grad(logits.float().sum(), [*weights.values()], allow_unused=True)
    finally:
        for weight, flag in zip(weights.values(), flags, strict=True):
            weight.requires_grad_(flag)
    return [name for name, gradient in zip(weights, gradients, strict=True) if gradient is not None]


def _watch(name: str, calls: Calls) -> Callable[..., None]:
    """A pre-hook that notes the shape a site is called with."""

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG001
        if len(args) != 1 or kwargs or not isinstance(args[0], Tensor):
            given = ", ".join([type(a).__name__ for a in args] + list(kwargs))
            raise RankOneError(f"'{name}' is called with ({given}), not one tensor. Leave it out of `sites`.")
        calls[name].append(tuple(args[0].shape[:-1]))

    return note


def _refuse_calls(calls: Calls, ids: Tensor) -> None:
    whole = (tuple(ids.shape), (ids.numel(),))
    partly = [name for name, shapes in calls.items() if any(shape not in whole for shape in shapes)]
    if partly:
        raise RankOneError(
            f"'{partly[0]}' runs on {list(calls[partly[0]][0])} positions where the text has {list(ids.shape)} "
            f"({len(partly)} such sites; experts see the tokens routed to them): masks are per position. Leave "
            "them out of `sites`."
        )
    several = [name for name, shapes in calls.items() if len(shapes) > 1]
    if several:
        raise RankOneError(
            f"'{several[0]}' runs {len(calls[several[0]])} times in one forward ({len(several)} such sites): one "
            "mask cannot stand for all of them. Leave them out of `sites`."
        )


def _refuse_past(past: list[str]) -> None:
    if past:
        raise RankOneError(
            f"the weight of '{past[0]}' is read past its layer ({len(past)} such sites): masks would not reach all "
            "of its uses. Leave them out of `sites`."
        )
