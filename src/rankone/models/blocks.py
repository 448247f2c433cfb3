"""The list of transformer blocks a model runs one after the other, and where in it the sites begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.models.sites import find_sites


class BlockList(NamedTuple):
    """Path of the nn.ModuleList of blocks, and the index of the first one that holds a site."""

    path: str
    first: int


def blocks_of(model: nn.Module, sites: Sequence[str]) -> BlockList | None:
    """The outermost nn.ModuleList above all `sites` (module paths); None where they lie in several.

    That its members run in order is not known here: whoever relies on it has to compare outputs.
    """
    lists = {name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    holders: set[str] = set()
    indices: list[int] = []
    for site in sites:
        parts = site.split(".")
        depth = next((i for i in range(1, len(parts)) if ".".join(parts[:i]) in lists), None)
        if depth is None:
            return None
        holders.add(".".join(parts[:depth]))
        indices.append(int(parts[depth]))
    return BlockList(holders.pop(), min(indices)) if len(holders) == 1 else None


def all_blocks(model: nn.Module) -> nn.ModuleList | None:
    """The list of blocks that holds every site of the model; None where there are several."""
    there = blocks_of(model, [site.name for site in find_sites(model)])
    if there is None:
        return None
    blocks = model.get_submodule(there.path)
    assert isinstance(blocks, nn.ModuleList)
    return blocks


def last_block(model: nn.Module) -> nn.Module:
    """The block whose output is the residual stream that the head reads; RankOneError where it cannot be told."""
    blocks = all_blocks(model)
    if blocks is None:
        raise RankOneError(
            f"{type(model).__name__} keeps its sites in several lists of blocks: which stream its head reads is not clear."
        )
    return blocks[-1]


@contextmanager
def outputs_seen(blocks: Sequence[nn.Module], seen: list[object]) -> Iterator[None]:
    """What each of the blocks gives is added to `seen`, in the order in which they run."""
    with ExitStack() as hooks:
        for block in blocks:
            hooks.enter_context(block.register_forward_hook(lambda _module, _given, out: seen.append(out)))
        yield


@contextmanager
def changed_stream(block: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """The output of a block changed while the context lasts; the tensor itself or the first of a tuple."""

    def hook(_module: nn.Module, _given: object, output: object) -> object:
        if isinstance(output, tuple | list):
            changed = [change(output[0]), *output[1:]]
            return changed if isinstance(output, list) else tuple(changed)
        assert isinstance(output, Tensor)
        return change(output)

    with block.register_forward_hook(hook):
        yield


@contextmanager
def stream_as_leaf(block: nn.Module) -> Iterator[list[Tensor]]:
    """The output of a block as a leaf that gradients can be taken by, while the context lasts; the list gets it."""
    kept: list[Tensor] = []

    def leaf(stream: Tensor) -> Tensor:
        kept.append(stream.detach().requires_grad_())
        return kept[-1]

    with changed_stream(block, leaf):
        yield kept
