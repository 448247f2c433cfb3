"""What every part adds to what a model says of a text, through all paths by the frozen rule.

With what is not a product with weights held constant, the logits are linear in what a matrix writes, so that one backward of
a scalar S of them gives what S owes to each part: Σ over positions of a (u · ∂S/∂y), a = v · x, y the matrix's output. It is
what a graph of every node says of the part's total effect, at the price of a forward and a backward.
"""

from __future__ import annotations

from contextlib import ExitStack

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.circuits.attribution.cut import cut_sites, frozen_logits
from rankone.parts.parts import Parts


def influence_on_truth(
    model: PreTrainedModel, parts: Parts, ids: Int[Tensor, " t"]
) -> Float[Tensor, " parts"]:
    """[ΣC] what each part adds to the logits of the tokens that do come next, less the mean over the vocabulary: their sum
    over a row. Queries and keys add nothing where patterns are held. RankOneError for models that graphs refuse."""
    read: dict[str, Tensor] = {}
    written: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for site in cut_sites(model):
            if site.name in parts.sites:
                stack.enter_context(_watch(site.module, site.name, read, written))
        logits, _ = frozen_logits(model, ids)
    centred = logits - logits.mean(-1, keepdim=True)
    truth = centred[:-1].gather(1, ids[1:, None]).sum()
    slopes = torch.autograd.grad(truth, [written[site] for site in parts.sites], materialize_grads=True)
    by_site = []
    for site, slope in zip(parts.sites, slopes, strict=True):
        v, u = (factor.detach().to(slope.dtype) for factor in parts.factors(site))
        by_site.append(((read[site] @ v) * (slope @ u.T)).flatten(0, -2).sum(0))
    return torch.cat(by_site)


def _watch(
    module: nn.Module, name: str, read: dict[str, Tensor], written: dict[str, Tensor]
) -> torch.utils.hooks.RemovableHandle:
    def after(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        read[name], written[name] = given[0].detach(), out.requires_grad_()
        return out

    return module.register_forward_hook(after)
