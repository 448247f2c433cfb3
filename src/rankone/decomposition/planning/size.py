"""What a decomposition run has to hold and multiply, counted from shapes alone (a model on the meta device will do)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.importance.registry import build_importance, importance_class
from rankone.decomposition.init.start import count_for
from rankone.decomposition.taps import tap_widths
from rankone.decomposition.training.head import head_of
from rankone.models.blocks import blocks_of
from rankone.models.sites import Site, find_sites
from rankone.runtime.distributed import current


@dataclass(frozen=True)
class RunSize:
    """Counts of one process of a run: numbers of values unless said otherwise.

    `positions` are those it takes in a step, `processes` how many there are. `sites` holds (d_in, d_out, C) of each;
    `upstream` and `downstream` are the matrix entries one position is multiplied with before and from the first
    decomposed block on, sites left out.
    """

    sites: tuple[tuple[int, int, int], ...]
    positions: int
    processes: int
    context: int
    width: int
    vocabulary: int
    target: int
    target_bytes: int
    importance: int
    upstream: int
    downstream: int
    blocks: int
    first_block: int
    held_back: bool  # the unembedding, from a run's passes

    @property
    def head(self) -> int:
        """Entries of the unembedding, if it is held back."""
        return self.width * self.vocabulary if self.held_back else 0

    @property
    def weights(self) -> int:
        """Entries of the decomposed matrices."""
        return sum(d_in * d_out for d_in, d_out, _ in self.sites)

    @property
    def factors(self) -> int:
        """Entries of V and U."""
        return sum((d_in + d_out) * count for d_in, d_out, count in self.sites)

    @property
    def products(self) -> int:
        """Σ d_in · C · d_out: multiplications of one V U over all sites."""
        return sum(d_in * d_out * count for d_in, d_out, count in self.sites)

    @property
    def subcomponents(self) -> int:
        """ΣC."""
        return sum(count for _, _, count in self.sites)

    @property
    def inputs(self) -> int:
        """Σ d_in."""
        return sum(d_in for d_in, _, _ in self.sites)

    @property
    def outputs(self) -> int:
        """Σ d_out."""
        return sum(d_out for _, d_out, _ in self.sites)


def run_size(target: PreTrainedModel, config: DecomposeConfig) -> RunSize:
    """Counts for `config` on `target`; RankOneError for sites or C that the run would refuse."""
    processes = current().size
    sites = find_sites(target, config.sites)
    counts = [count_for(site, config) for site in sites]
    text = target.config.get_text_config()
    blocks = blocks_of(target, [s.name for s in sites])
    first, path = (0, "") if blocks is None else (blocks.first, blocks.path)
    upstream, downstream = _other_products(target, sites, path, first)
    return RunSize(
        sites=tuple((s.d_in, s.d_out, c) for s, c in zip(sites, counts, strict=True)),
        positions=math.ceil(config.rows / processes) * config.context,
        processes=processes,
        context=config.context,
        width=int(text.hidden_size),
        vocabulary=int(text.vocab_size),
        target=sum(p.numel() for p in target.parameters()),
        target_bytes=sum(p.numel() * p.element_size() for p in target.parameters()),
        importance=importance_parameters(target, config, sites, counts),
        upstream=upstream,
        downstream=downstream,
        blocks=int(text.num_hidden_layers),
        first_block=first,
        held_back=head_of(target, [s.name for s in sites]) is not None,
    )


def importance_parameters(
    target: PreTrainedModel, config: DecomposeConfig, sites: Sequence[Site], counts: Sequence[int]
) -> int:
    """Parameters of the importance function of a run."""
    importance = config.importance
    with torch.device("meta"):
        built = build_importance(
            importance, tap_widths(importance_class(importance).taps, target, sites, counts), counts
        )
    return sum(p.numel() for p in built.parameters())


def _other_products(target: PreTrainedModel, sites: Sequence[Site], path: str, first: int) -> tuple[int, int]:
    """Entries of matrices that are not sites, before and from block `first` of the list at `path` on.

    Of experts fused into one parameter only the share that a position is routed to counts.
    """
    chosen = {site.name for site in sites}
    upstream = downstream = 0
    for name, module in target.named_modules():
        if name in chosen or isinstance(module, nn.Embedding):
            continue
        entries = sum(_entries(target, module, p) for p in module.parameters(recurse=False) if p.ndim >= 2)
        if path and name.startswith(f"{path}.") and int(name[len(path) + 1 :].split(".")[0]) < first:
            upstream += entries
        else:
            downstream += entries
    return upstream, downstream


def _entries(target: PreTrainedModel, module: nn.Module, parameter: torch.Tensor) -> int:
    if isinstance(module, nn.Linear | Conv1D) or parameter.ndim == 2:
        return parameter.numel()
    config = target.config.get_text_config()
    routed = getattr(config, "num_experts_per_tok", None) or getattr(config, "moe_topk", None) or 1
    return math.ceil(parameter.numel() * min(1.0, routed / len(parameter)))
