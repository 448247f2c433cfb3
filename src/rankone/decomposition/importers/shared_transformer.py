"""The published importance function `global_shared_transformer` as RankOne's `SharedTransformer`, value for value.

Keys under `ci_fn._global_ci_fn.` (D = Σ d_in, C = Σ C over sites in plain sorted order of their paths, w width, h hidden):
    _input_projector.{W,b} [D, w], [w] · _output_head.{W,b} [w, C], [C]
    _blocks.{k}.attn.{q,k,v,out}_proj.weight [w, w] (as nn.Linear: [out, in]) · _blocks.{k}.attn.rope.inv_freq [w/heads/2]
    _blocks.{k}.mlp.{0,2}.{W,b} [w, h], [h]; [h, w], [w]
`W` are stored [in, out]. RankOne keeps its sites in natural order (h.2 before h.10), so the columns of projector and
head move where the two orders differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.decomposition.importance.config import SharedTransformerConfig
from rankone.decomposition.importance.shared_transformer import SharedTransformer
from rankone.decomposition.importers.keys import Shape

PREFIX = "ci_fn._global_ci_fn."
ROPE_BASE = 10000.0


class PublishedAttention(Config):
    """`attn_config`; sequences longer than `max_len` were refused there and are not here."""

    n_heads: int = Field(gt=0)
    max_len: int = 2048
    rope_base: float = ROPE_BASE


class PublishedTransformer(Config):
    """`simple_transformer_ci_cfg`."""

    d_model: int = Field(gt=0)
    n_blocks: int = Field(ge=0)
    mlp_hidden_dim: list[int] | None = Field(default=None, min_length=1)
    attn_config: PublishedAttention

    def ours(self, where: str) -> SharedTransformerConfig:
        """The same sizes in RankOne's words; RankOneError for what `SharedTransformer` cannot express."""
        hidden = self.mlp_hidden_dim or [4 * self.d_model]
        if len(hidden) != 1 or self.attn_config.rope_base != ROPE_BASE:
            raise RankOneError(
                f"{where}: mlp_hidden_dim {hidden} and rope_base {self.attn_config.rope_base:g}; RankOne's importance "
                f"transformer has one hidden layer in each block and base {ROPE_BASE:g}."
            )
        sizes: dict[str, object] = {
            "width": self.d_model,
            "blocks": self.n_blocks,
            "heads": self.attn_config.n_heads,
            "hidden": hidden[0],
        }
        return SharedTransformerConfig.checked(sizes, where)


@dataclass(frozen=True)
class SiteSizes:
    """One site: its d_in and number of subcomponents."""

    d_in: int
    count: int


def transformer_shapes(config: SharedTransformerConfig, sites: Mapping[str, SiteSizes]) -> dict[str, Shape]:
    """Every key of the importance function with its shape."""
    w, h = config.width, config.hidden
    wide, total = sum(s.d_in for s in sites.values()), sum(s.count for s in sites.values())
    shapes: dict[str, Shape] = {"_input_projector.W": (wide, w), "_input_projector.b": (w,)}
    for k in range(config.blocks):
        block = f"_blocks.{k}."
        shapes |= {f"{block}attn.{p}_proj.weight": (w, w) for p in ("q", "k", "v", "out")}
        shapes |= {f"{block}attn.rope.inv_freq": (w // config.heads // 2,)}
        shapes |= {f"{block}mlp.0.W": (w, h), f"{block}mlp.0.b": (h,)}
        shapes |= {f"{block}mlp.2.W": (h, w), f"{block}mlp.2.b": (w,)}
    shapes |= {"_output_head.W": (w, total), "_output_head.b": (total,)}
    return {PREFIX + key: shape for key, shape in shapes.items()}


def transformer_from(
    tensors: Mapping[str, Tensor],
    config: SharedTransformerConfig,
    sites: Mapping[str, SiteSizes],
    where: Path,
) -> SharedTransformer:
    """The importance function over `sites` (in RankOne's order) from checked tensors, in fp32."""
    read = {key.removeprefix(PREFIX): t.float() for key, t in tensors.items() if key.startswith(PREFIX)}
    _check_frequencies(read, config, where)
    inputs = _moved(sites, [s.d_in for s in sites.values()])
    outputs = _moved(sites, [s.count for s in sites.values()])
    state = {
        "project.weight": read["_input_projector.W"].T[:, inputs],
        "project.bias": read["_input_projector.b"],
        "head.weight": read["_output_head.W"].T[outputs],
        "head.bias": read["_output_head.b"][outputs],
    }
    for k in range(config.blocks):
        state |= {f"blocks.{k}.{name}": value for name, value in _block(read, f"_blocks.{k}.").items()}
    with torch.device("meta"):
        importance = SharedTransformer(
            config, [s.d_in for s in sites.values()], [s.count for s in sites.values()]
        )
    importance.load_state_dict(state, assign=True)
    return importance.requires_grad_(False)


def _block(read: Mapping[str, Tensor], block: str) -> dict[str, Tensor]:
    return {
        "qkv.weight": torch.cat([read[f"{block}attn.{p}_proj.weight"] for p in "qkv"]),
        "out.weight": read[f"{block}attn.out_proj.weight"],
        "up.weight": read[f"{block}mlp.0.W"].T.contiguous(),
        "up.bias": read[f"{block}mlp.0.b"],
        "down.weight": read[f"{block}mlp.2.W"].T.contiguous(),
        "down.bias": read[f"{block}mlp.2.b"],
    }


def _moved(sites: Mapping[str, SiteSizes], sizes: Sequence[int]) -> Tensor:
    """Where each entry of RankOne's concatenation stands in the published one, which is in plain sorted order."""
    size_of = dict(zip(sites, sizes, strict=True))
    starts, at = {}, 0
    for name in sorted(size_of):
        starts[name], at = at, at + size_of[name]
    return torch.cat([torch.arange(starts[name], starts[name] + size_of[name]) for name in sites])


def _check_frequencies(read: Mapping[str, Tensor], config: SharedTransformerConfig, where: Path) -> None:
    """The rotary frequencies in the file, if any, are the ones RankOne computes."""
    size = config.width // config.heads
    expected = ROPE_BASE ** -(torch.arange(0, size, 2, dtype=torch.float32) / size)
    for key, value in read.items():
        if key.endswith("rope.inv_freq") and not torch.allclose(value, expected, rtol=1e-3):
            raise RankOneError(
                f"'{where}': {PREFIX}{key} are rotary frequencies of another base than {ROPE_BASE:g}."
            )
