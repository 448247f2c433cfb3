"""What the clean forward leaves for an importance function: the inputs of sites, and of blocks where they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.decomposition.importance.function import Taps
from rankone.models.blocks import blocks_of
from rankone.models.sites import Site


class SiteInputs(list[Tensor]):
    """The input [B, T, d_in] of every site in the decomposition's order; `blocks` the input [B, T, d] of every block.

    `blocks` is empty unless the importance function reads the residual stream.
    """

    def __init__(self, inputs: Sequence[Tensor], blocks: Sequence[Tensor] = ()) -> None:
        super().__init__(inputs)
        self.blocks = list(blocks)


def block_paths(model: nn.Module, sites: Sequence[str]) -> list[str]:
    """Module paths of the blocks that run one after the other above `sites`; RankOneError where they have no one list."""
    blocks = blocks_of(model, sites)
    if blocks is None:
        raise RankOneError(
            "importance.kind 'residual_transformer' reads the inputs of one list of blocks, and the sites lie in several "
            "lists. Decompose the sites of one of them, or use 'shared_transformer'."
        )
    return [f"{blocks.path}.{i}" for i in range(len(model.get_submodule(blocks.path)))]  # pyright: ignore[reportArgumentType]


def tap_widths(taps: Taps, model: nn.Module, sites: Sequence[Site], counts: Sequence[int]) -> list[int]:
    """Last dimensions of what an importance function with these taps reads of this model."""
    if taps == "sites":
        return [site.d_in for site in sites]
    if taps == "activations":
        return list(counts)
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    width = getattr(text, "hidden_size", None)
    if width is None:
        raise RankOneError(
            f"importance.kind 'residual_transformer' needs the width of the residual stream, but the configuration of "
            f"{type(model).__name__} has no hidden_size. Use 'shared_transformer'."
        )
    return [int(width)] * len(block_paths(model, [site.name for site in sites]))


@contextmanager
def block_inputs(model: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Float[Tensor, "b t d"]]]:
    """Collect the hidden states each block is first called with while the block runs, by path."""
    inputs: dict[str, Tensor] = {}

    def keep(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            del module
            # The first call alone: a late start tries the forward a second time, on stand-ins.
            inputs.setdefault(path, args[0] if args else kwargs["hidden_states"])

        return hook

    with ExitStack() as hooks:
        for path in paths:
            block = model.get_submodule(path)
            hooks.enter_context(block.register_forward_pre_hook(keep(path), with_kwargs=True))
        yield inputs
