"""Moments: what the chosen sites read on some text, summed up in one pass: E[z zᵀ], E[x], E[x²] of every site.

x [d_in] is a site's input and y = W x [d_out] its output without bias. z is the input, or the output where that is the
smaller side: all second moments of y follow from either, since E[y yᵀ] = W E[x xᵀ] Wᵀ, and those of v·x for every
v = Wᵀ w. Contrast directions, discriminants and principal starts are closed forms of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.models.output import run_blocks
from rankone.models.sites import Site, weight_of

ROWS_AT_ONCE = 8
Side = Literal["smaller", "input"]


@dataclass(frozen=True)
class SiteMoments:
    """Of one site on some text. second: E[z zᵀ]; of_output: whether z is the output; mean, mean_square: E[x], E[x²]."""

    second: Float[Tensor, "d d"]
    of_output: bool
    mean: Float[Tensor, " d_in"]
    mean_square: Float[Tensor, " d_in"]
    weight: Float[Tensor, "d_out d_in"]

    def input_second(self) -> Float[Tensor, "d_in d_in"]:
        """E[x xᵀ]; RankOneError where only the output's was kept."""
        if self.of_output:
            raise RankOneError("only the output's second moment was kept: collect with side='input'.")
        return self.second

    def output_mean(self) -> Float[Tensor, " d_out"]:
        """E[y]."""
        return self.weight @ self.mean


Moments = Mapping[str, SiteMoments]


class _Sums:
    """Running sums of one site, or of several that are called with the same tensor."""

    def __init__(self, site: Site, of_output: bool) -> None:
        self.weight, self.of_output = weight_of(site).float(), of_output
        size = site.d_out if of_output else site.d_in
        self.second = self.weight.new_zeros(size, size)
        self.mean, self.mean_square = self.weight.new_zeros(site.d_in), self.weight.new_zeros(site.d_in)

    def add(self, x: Float[Tensor, "n d_in"]) -> None:
        """Add the positions of one batch."""
        z = x @ self.weight.T if self.of_output else x
        self.second.addmm_(z.T, z)
        self.mean += x.sum(0)
        self.mean_square += x.square().sum(0)


class _Pass:
    """The sums of one pass over text. Queries, keys and values read one tensor, which is summed up once, by its leader."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.sums: dict[str, _Sums] = {}
        self.leader: dict[str, str] = {}
        self.keep: Bool[Tensor, " n"] | None = None  # the positions that count of the rows at work
        self._last: tuple[Tensor, str] | None = None

    def hook(self, site: Site) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        """What a site's module is hooked with."""
        of_output = self.side == "smaller" and site.d_out < site.d_in

        def add(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            del module
            x = given[0]
            if not of_output and self._last is not None and self._last[0] is x:
                self.leader[site.name] = self._last[1]
                return
            self.leader[site.name] = site.name
            if not of_output:
                self._last = (x, site.name)
            if site.name not in self.sums:
                self.sums[site.name] = _Sums(site, of_output)
            flat = x.detach().flatten(0, -2).float()
            self.sums[site.name].add(flat if self.keep is None else flat[self.keep])

        return add

    def forget(self) -> None:
        """After a forward: let go of its tensors."""
        self._last = None


@torch.no_grad()
def collect_moments(
    target: nn.Module,
    sites: Sequence[Site],
    ids: Int[Tensor, "rows t"] | Float[Tensor, "rows t d"],
    counted: Bool[Tensor, "rows t"] | None = None,
    side: Side = "smaller",
    advance: Callable[[int], None] | None = None,
) -> dict[str, SiteMoments]:
    """Moments of all sites over the counted positions of some rows (None: all), on the target's device.

    side: `input` keeps E[x xᵀ] of every site, `smaller` that of the output where it is smaller. The unembedding of a
    language model is not run. advance: told the positions of each batch. RankOneError where nothing is counted or a
    value is not finite.
    """
    total = ids.shape[0] * ids.shape[1] if counted is None else int(counted.sum())
    if total == 0:
        raise RankOneError("there is no text to take moments of.")
    collecting = _Pass(side)
    device = next(target.parameters()).device
    with ExitStack() as hooks:
        for site in sites:
            hooks.enter_context(site.module.register_forward_pre_hook(collecting.hook(site)))
        for start in range(0, len(ids), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            collecting.keep = None if counted is None else counted[rows].to(device).flatten()
            run_blocks(target, ids[rows].to(device))
            collecting.forget()
            if advance is not None:
                advance(ids[rows].shape[0] * ids.shape[1])
    return {site.name: _finished(site, collecting, total) for site in sites}


def _finished(site: Site, collected: _Pass, total: int) -> SiteMoments:
    if site.name not in collected.leader:
        raise RankOneError(f"the forward never ran '{site.name}'. Leave it out of the sites.")
    sums = collected.sums[collected.leader[site.name]]
    moments = SiteMoments(
        sums.second / total,
        sums.of_output,
        sums.mean / total,
        sums.mean_square / total,
        weight_of(site).float(),
    )
    if not (moments.second.isfinite().all() and moments.mean.isfinite().all()):
        raise RankOneError(
            f"what '{site.name}' reads is not finite on this text: no direction can be found there."
        )
    return moments


def combined(moments: Sequence[Moments], weights: Sequence[float]) -> dict[str, SiteMoments]:
    """The weighted mean of several texts' moments; `weights` need not add up to one."""
    if not moments or len(moments) != len(weights) or sum(weights) <= 0:
        raise RankOneError("moments to combine need one positive weight each.")
    shares = [w / sum(weights) for w in weights]
    return {site: _mean([of_text[site] for of_text in moments], shares) for site in moments[0]}


def _mean(moments: Sequence[SiteMoments], shares: Sequence[float]) -> SiteMoments:
    def mean(values: Sequence[Tensor]) -> Tensor:
        return torch.stack([s * v for s, v in zip(shares, values, strict=True)]).sum(0)

    return SiteMoments(
        mean([m.second for m in moments]),
        moments[0].of_output,
        mean([m.mean for m in moments]),
        mean([m.mean_square for m in moments]),
        moments[0].weight,
    )
