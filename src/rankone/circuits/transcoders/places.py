"""Where the MLPs of a model are: one module per block that reads a normed residual stream and adds its output to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.models.anatomy import in_attention, layer_number, module_of, reads_hidden
from rankone.models.blocks import blocks_of
from rankone.models.sites import find_sites


@dataclass(frozen=True)
class Mlp:
    """An MLP. path: of its module. last: the site that reads its neurons. sites: all sites inside it."""

    path: str
    last: str
    sites: tuple[str, ...]


def mlps_of(model: PreTrainedModel) -> list[Mlp]:
    """The MLP of every block, first block first.

    RankOneError for a model whose MLPs are not modules of their own, or have several last matrices (experts).
    """
    sites = find_sites(model)
    if blocks_of(model, [site.name for site in sites]) is None:
        raise RankOneError("transcoders replace the MLPs of one list of blocks, and this model has several.")
    by_path: dict[str, list[str]] = {}
    last: dict[str, list[str]] = {}
    for site in sites:
        if layer_number(site.name) < 0 or in_attention(site.name):
            continue
        path = module_of(site.name)
        by_path.setdefault(path, []).append(site.name)
        if reads_hidden(site.name, site.d_out, site.d_in):
            last.setdefault(path, []).append(site.name)
    odd = [path for path in by_path if len(last.get(path, [])) != 1 or "." not in path or path[-1].isdigit()]
    if odd or not by_path:
        where = f" ('{odd[0]}')" if odd else ""
        raise RankOneError(
            f"this model has no MLP module with one last matrix in each block{where}: transcoders have nothing to stand in "
            "for. Experts and MLPs without a module of their own are not supported."
        )
    return [Mlp(path, last[path][0], tuple(names)) for path, names in by_path.items()]


Seen = dict[str, Float[Tensor, "b t d"]]
"""By path of an MLP: what it read, or what it wrote, in the latest forward."""


@contextmanager
def watched(model: nn.Module, mlps: Sequence[Mlp]) -> Iterator[tuple[Seen, Seen]]:
    """(inputs, outputs) of whatever stands in the MLPs' places, in the forwards of the block."""
    inputs: Seen = {}
    outputs: Seen = {}

    def note(path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001
            inputs[path], outputs[path] = args[0], output

        return hook

    with ExitStack() as hooks:
        for mlp in mlps:
            hooks.enter_context(model.get_submodule(mlp.path).register_forward_hook(note(mlp.path)))
        yield inputs, outputs
