"""Where a number that is not finite comes from: the first site of a forward, or the last of a backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributed.tensor import DTensor

from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.decomposition.parallel.gathered import gathered
from rankone.decomposition.site import DecomposedSite
from rankone.runtime.distributed import Ranks

_PARTS = ("V", "U", "importance", "input", "output")


def forward_fault(
    model: DecomposedModel,
    logits: Float[Tensor, "b t c"],
    masked: Callable[[], object],
    ranks: Ranks,
) -> str | None:
    """'SITE (V, importance, output)': the first site that `masked` runs with something not finite, and what.

    logits: importance logits of the same rows. None where all sites are well. All processes have to ask.
    """
    order: list[str] = []
    faults = torch.zeros(len(model.modules), len(_PARTS), device=logits.device)
    sites = model.decomposition.sites
    split = logits.split(model.decomposition.counts, -1)

    def look(index: int, site: DecomposedSite, given: Any, output: Tensor) -> None:
        order.append(sites[index])
        parts = (gathered(site.V), gathered(site.U), split[index], given[0], output)
        faults[index] = torch.tensor([not bool(part.isfinite().all()) for part in parts])

    with ExitStack() as hooks, torch.no_grad():
        for i, module in enumerate(model.modules):
            hooks.enter_context(module.register_forward_hook(partial(look, i)))
        masked()
    faulty = ranks.sum_(faults) > 0
    for site in order:
        bad = [part for part, wrong in zip(_PARTS, faulty[sites.index(site)].tolist(), strict=True) if wrong]
        if bad:
            return f"{site} ({', '.join(bad)})"
    return None


def gradient_fault(decomposition: Decomposition, ranks: Ranks) -> str | None:
    """'SITE (V, U)': the last site, which a backward comes to first, whose gradients are not finite; None if all are."""
    pairs = [decomposition.factors(site) for site in decomposition.sites]
    device = next(decomposition.parameters()).device
    bad = torch.tensor(
        [[_is_bad(p.grad) for p in pair] for pair in pairs], dtype=torch.float32, device=device
    )
    for site, wrong in reversed(list(zip(decomposition.sites, (ranks.sum_(bad) > 0).tolist(), strict=True))):
        if any(wrong):
            return (
                f"{site} ({', '.join(name for name, is_bad in zip(_PARTS, wrong, strict=False) if is_bad)})"
            )
    return None


def _is_bad(gradient: Tensor | None) -> bool:
    local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
    return local is not None and not bool(local.isfinite().all())


def not_finite(names: Sequence[str], step: int, site: str | None) -> str:
    """What to say of it."""
    where = "" if site is None else f", first at the site {site}"
    return (
        f"{', '.join(names)} is not finite at step {step}{where}. The last checkpoint is kept; "
        "lower learning_rate or the loss's coefficient and start again."
    )
