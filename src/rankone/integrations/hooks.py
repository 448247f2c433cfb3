"""An edit as plain PyTorch hooks: what is added to a site's output, for tools with a forward or hooks of their own.

A site gives W x; changed it gives W x + write (read x). A hook adds the second term and leaves the weight alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager

from jaxtyping import Float
from torch import Tensor, nn

from rankone.edits.lowrank.edit import LowRankEdit
from rankone.edits.lowrank.factors import Factors, fitting_sites

Added = Callable[[Float[Tensor, "*b d_in"]], Float[Tensor, "*b d_out"]]
"""From a site's input to what the edit adds to its output."""
Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]
"""A forward hook, as `nn.Module.register_forward_hook` takes it."""


def additions(edit: LowRankEdit) -> dict[str, Added]:
    """By module path of a site, x [..., d_in] → write (read x) [..., d_out], in x's dtype and on its device."""
    return {site: _added(factors) for site, factors in edit.factors.items()}


def forward_hooks(edit: LowRankEdit) -> dict[str, Hook]:
    """By module path of a site, the forward hook that adds the edit to its output."""
    return {site: _hook(added) for site, added in additions(edit).items()}


@contextmanager
def hooked(model: nn.Module, edit: LowRankEdit) -> Generator[None]:
    """The edit as hooks while the block runs; no weight is changed. RankOneError for a site that does not fit."""
    sites = fitting_sites(model, edit.factors)
    with ExitStack() as stack:
        for name, hook in forward_hooks(edit).items():
            stack.enter_context(sites[name].module.register_forward_hook(hook))
        yield


def _added(factors: Factors) -> Added:
    def added(x: Float[Tensor, "*b d_in"]) -> Float[Tensor, "*b d_out"]:
        write, read = (f.to(x.device, x.dtype) for f in factors)
        return x @ read.T @ write.T

    return added


def _hook(added: Added) -> Hook:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + added(inputs[0])

    return hook
