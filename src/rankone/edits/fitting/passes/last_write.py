"""Edits of the last write to the residual stream: their logits in closed form, with no product as wide as the vocabulary.

The change of the last MLP output meets nothing but the final norm and the unembedding. For a norm that divides by a
root mean square, with gain g, residual stream r and a change S D of rank k,
    z = ι · (W (g ⊙ r) + S · D (g ⊙ Wᵀ)),      ι = 1 / rms(r + S D).
W (g ⊙ r) is the unchanged model's and is kept, D (g ⊙ Wᵀ) is k rows of the vocabulary for every run, so a step costs a
few passes over [positions, vocabulary] and no more. That the model is of this kind is tried on a few tokens and a
random change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from rankone.decomposition.training.head import logits_at_once
from rankone.edits.adapters import Change
from rankone.edits.fitting.passes.forward import LowRankChange, Text, runs_of
from rankone.edits.fitting.passes.late import LateForward, LateText
from rankone.edits.fitting.passes.shares import widths
from rankone.edits.fitting.passes.surprise import log_sums
from rankone.edits.fitting.passes.untouched import READ
from rankone.models.anatomy import is_norm
from rankone.models.unembedding import norm_gain

# Unnormalised logits that are kept per text, in numbers: 256 MB; beyond it they are formed at every step.
KEPT = 2**26
# Of a piece, in numbers, on a CPU: half a dozen passes over it stay within a core's own cache. Positions at least.
PIECE, LEAST = 2**18, 16
# Relative difference that rounding may make where the closed form is tried.
_NOISE = 1e-4


@dataclass(frozen=True)
class LastText(LateText):
    """Rows with the residual stream before the last norm and, where there is room, its unnormalised logits."""

    residual: Float[Tensor, "rows t d"]
    raw: Float[Tensor, "rows t vocab"] | None


class LastWriteForward(LateForward):
    """See the module. `holds` is False where the model is of another kind; it must then not be used."""

    def __init__(
        self, model: PreTrainedModel, sites: Sequence[str], head: str, few: Int[Tensor, "rows t"]
    ) -> None:
        super().__init__(model, sites, head, few)
        self.holds = False
        norm = self._norm()
        if (
            len(self.sites) > 1
            or norm is None
            or self.head.bias is not None
            or READ not in self.calls_kept(few)
        ):
            return
        self.norm = norm
        self.gain, centres = norm_gain(norm, self.head.weight.shape[1])
        self.unembed = (self.head.weight.float() * self.gain).T.contiguous()
        self.holds = not centres and self._tried(few)

    def calls_kept(self, few: Tensor) -> Mapping[str, Tensor]:
        """What the stand-ins keep of a text."""
        with torch.no_grad():
            return self._clean(few)[1]

    def _norm(self) -> nn.Module | None:
        """The module whose output the unembedding reads."""
        given = self.calls[self.head_path].given
        named = [
            self.model.get_submodule(name)
            for name, call in self.calls.items()
            if given is not None and name != self.head_path and _same(call.gave, given)
        ]
        return next((module for module in reversed(named) if is_norm(module)), None)

    def _tried(self, few: Tensor) -> bool:
        """Whether a random change of the site moves the last hidden states as the closed form says."""
        (site,) = self.sites
        with torch.no_grad():
            text = self.prepare(few)
            width = text.residual.shape[-1]
            if self.calls[site].gave is None or cast(Tensor, self.calls[site].gave).shape[-1] != width:
                return False
            generator = torch.Generator().manual_seed(0)
            push = torch.randn(1, *few.shape, width, generator=generator).to(text.residual)
            push *= text.residual.square().mean().sqrt()
            index = torch.arange(len(few), device=few.device)
            moved = self._hidden(few, index, text.kept, _Push(push.flatten(1, 2)), {"none": push}).float()
            stream = text.residual + push[0]
            scaled = self._scale(stream).unsqueeze(-1) * stream * self.gain
            error = (scaled - moved).abs().max() / moved.abs().max()
        return bool(error < _NOISE)

    def prepare(self, ids: Int[Tensor, "rows t"], following: bool = False) -> LastText:
        """See `Forward`."""
        streams: list[Tensor] = []
        with self.norm.register_forward_pre_hook(lambda _, given: streams.append(given[0].detach())):
            text = super().prepare(ids, following)
        residual = torch.cat(streams).float()
        small = ids.numel() * len(self.head.weight) <= KEPT
        raw = (residual @ self.unembed) if small else None
        return LastText(**vars(text), residual=residual, raw=raw)

    def _scale(self, stream: Float[Tensor, "*positions d"]) -> Float[Tensor, "*positions"]:
        """What the norm multiplies the stream by, gain apart: read off its output, whatever its ε."""
        normed, gained = self.norm(stream), stream * self.gain
        return (normed * gained).sum(-1) / gained.square().sum(-1).clamp_min(1e-30)

    def weighted(
        self,
        text: Text,
        index: Int[Tensor, "own rows"],
        weights: Float[Tensor, "own rows t"],
        method: Change,
        parameters: Mapping[str, Tensor],
    ) -> Float[Tensor, " runs"]:
        """See `Forward`."""
        if not isinstance(method, LowRankChange):
            return super().weighted(text, index, weights, method, parameters)
        text, weights = _up_to(cast(LastText, text), weights != 0, weights)
        at, flat_weights = self._at(text, index, method, parameters), weights.flatten(1)
        inner, outer, scale, straight = at
        sums = _WeightedLogSums.apply(inner, outer, scale, flat_weights, _Pieces(text, index, self.unembed))
        return cast(Tensor, sums) - (flat_weights * straight).sum(1)

    def each(
        self,
        text: Text,
        index: Int[Tensor, "own rows"],
        method: Change,
        parameters: Mapping[str, Tensor],
        scored: Bool[Tensor, "own rows t"] | None = None,
    ) -> Float[Tensor, "runs rows t"]:
        """See `Forward`; in closed form where no gradient is wanted."""
        if torch.is_grad_enabled() or not isinstance(method, LowRankChange):
            return super().each(text, index, method, parameters, scored)
        whole = text.ids.shape[1]
        if scored is not None:
            text, scored = _up_to(cast(LastText, text), scored, scored)
        inner, outer, scale, straight = self._at(text, index, method, parameters)
        pieces = _Pieces(cast(LastText, text), index, self.unembed)
        sums = torch.empty_like(scale)
        for runs, places in pieces.each(len(inner)):
            logits = pieces.logits(runs, places, inner, outer).mul_(scale[runs, places].unsqueeze(-1))
            sums[runs, places] = log_sums(logits)[0]
        values = (sums - straight).view(len(inner), index.shape[1], -1)
        return F.pad(values, (0, whole - values.shape[-1]))

    def _at(
        self, text: Text, index: Tensor, method: LowRankChange, parameters: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(S, D (g ⊙ Wᵀ), ι, Σ q z) of every run, [runs, positions, …]."""
        assert isinstance(text, LastText)
        (site,) = self.sites
        inner, rows = self._inner(text, index, method, parameters), method.outer(site, parameters).float()
        stream = text.residual[index].flatten(1, 2) + inner @ rows
        scale = self._scale(stream)
        straight = scale * (stream * (self.gain * text.rows[index].flatten(1, 2))).sum(-1)
        return inner, rows @ self.unembed, scale, straight

    def _inner(
        self, text: LastText, index: Tensor, method: LowRankChange, parameters: Mapping[str, Tensor]
    ) -> Float[Tensor, "runs n k"]:
        """S of every run. What all runs read alike is read once of each row, where runs share rows."""
        (site,) = self.sites
        read, fixed = text.kept[READ], getattr(method, "reads", None)
        if fixed is None:
            inner = method.inner(site, parameters, read[index].flatten(1, 2))
        else:
            columns = fixed(site).to(read)
            few = len(read) <= index.numel()
            seen = (read @ columns)[index] if few else read[index] @ columns
            inner = method.scaled(site, parameters, seen.flatten(1, 2))  # pyright: ignore[reportAttributeAccessIssue]
        return inner.float().expand(runs_of(parameters), -1, -1)


def _up_to(text: LastText, scored: Bool[Tensor, "own rows t"], beside: Tensor) -> tuple[LastText, Tensor]:
    """A text, and what goes with its positions, up to the last one that is scored; on a GPU that would be waited for."""
    if scored.device.type != "cpu":
        return text, beside
    width = max(widths(scored))
    return text.first(width), beside[..., :width]


def _same(gave: object, given: Tensor) -> bool:
    """Whether two tensors are one, or one a view of all of the other."""
    return isinstance(gave, Tensor) and gave.shape == given.shape and gave.data_ptr() == given.data_ptr()


class _Push:
    """A change that is given, for trying."""

    def __init__(self, push: Tensor) -> None:
        self.push = push

    def sites(self) -> list[str]:
        return []

    def change(self, site: str, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:  # noqa: ARG002
        return self.push.to(x.dtype)


def positions_at_once(device: torch.device, vocabulary: int) -> int:
    """Positions of a piece."""
    if device.type == "cpu":
        return max(LEAST, PIECE // vocabulary)
    return logits_at_once(device, vocabulary)


class _Pieces:
    """The unnormalised logits of a step, a piece of runs and positions at a time, each in the place of the last."""

    def __init__(
        self, text: LastText, index: Int[Tensor, "own rows"], unembed: Float[Tensor, "d vocab"]
    ) -> None:
        self.text, self.index, self.unembed = text, index, unembed
        self.count = index.shape[1] * text.ids.shape[1]
        self.size = positions_at_once(unembed.device, unembed.shape[1])
        self.shared = self._raw(0, slice(0, self.count)) if len(index) == 1 else None
        shape = max(1, self.size // self.count) * min(self.size, self.count), unembed.shape[1]
        self._room, self._odds = (torch.empty(shape, device=unembed.device) for _ in range(2))

    def each(self, runs: int) -> Iterator[tuple[slice, slice]]:
        """Slices of runs and of positions that together are a piece."""
        together = max(1, self.size // self.count)
        for first in range(0, runs, together):
            for start in range(0, self.count, self.size):
                stop = min(self.count, start + self.size)
                yield slice(first, min(runs, first + together)), slice(start, stop)

    def _raw(self, run: int, places: slice) -> Float[Tensor, "n vocab"]:
        rows = self.index[run]
        if self.text.raw is None:
            return self.text.residual[rows].flatten(0, 1)[places] @ self.unembed
        # A single row is looked at where it lies.
        kept = self.text.raw[int(rows)] if len(rows) == 1 else self.text.raw[rows].flatten(0, 1)
        return kept[places]

    def logits(
        self,
        runs: slice,
        places: slice,
        inner: Float[Tensor, "runs n k"],
        outer: Float[Tensor, "own k vocab"],
    ) -> Float[Tensor, "some places vocab"]:
        """W (g ⊙ r) + S D (g ⊙ Wᵀ) of a piece; good until the next."""
        part = inner[runs, places]
        room = self._place(self._room, part)
        rows = outer[runs] if len(outer) > 1 else outer
        if self.shared is not None:
            return _plus(self.shared[places].unsqueeze(0), part, rows, room)
        for i, run in enumerate(range(runs.start, runs.stop)):
            row = rows[i : i + 1] if len(rows) > 1 else rows
            _plus(self._raw(run, places).unsqueeze(0), part[i : i + 1], row, room[i : i + 1])
        return room

    def odds(self, logits: Float[Tensor, "some places vocab"]) -> Float[Tensor, "some places vocab"]:
        """Softmax of a piece's logits; good until the next."""
        return torch.softmax(logits, -1, out=self._place(self._odds, logits))

    @staticmethod
    def _place(room: Float[Tensor, "n vocab"], like: Tensor) -> Float[Tensor, "some places vocab"]:
        return room[: like.shape[0] * like.shape[1]].view(*like.shape[:2], -1)


def _plus(raw: Tensor, inner: Tensor, outer: Tensor, out: Tensor) -> Tensor:
    """raw + inner @ outer, in `out`."""
    if inner.shape[-1] == 1:
        return torch.addcmul(raw, inner, outer, out=out)
    return torch.add(raw, torch.matmul(inner, outer), out=out)


class _WeightedLogSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inner: Tensor, outer: Tensor, scale: Tensor, weights: Tensor, pieces: _Pieces
    ) -> Tensor:
        """Σ weight · ln Σ exp(ι (raw + S D)) of every run, and at once its gradients: of S, D and ι."""
        pulled, weighed = torch.empty_like(inner), scale * weights
        largest, likeliest, means = (torch.empty_like(scale) for _ in range(3))
        shape = (len(inner), *outer.shape[1:])
        towards_outer = torch.zeros(shape, device=outer.device) if ctx.needs_input_grad[1] else None
        for runs, places in pieces.each(len(inner)):
            logits = pieces.logits(runs, places, inner, outer).mul_(scale[runs, places].unsqueeze(-1))
            odds = pieces.odds(logits)
            rows = outer[runs] if len(outer) > 1 else outer.expand(len(odds), -1, -1)
            pulled[runs, places] = torch.bmm(odds, rows.transpose(1, 2))
            if towards_outer is not None:
                moved = inner[runs, places] * weighed[runs, places].unsqueeze(-1)
                towards_outer[runs] += torch.bmm(moved.transpose(1, 2), odds)
            largest[runs, places], likeliest[runs, places] = logits.amax(-1), odds.amax(-1)
            means[runs, places] = logits.mul_(odds).sum(-1)
        kept = [pulled * weighed.unsqueeze(-1), means / scale * weights]
        ctx.save_for_backward(*kept, *([] if towards_outer is None else [towards_outer]))
        ctx.shared = len(outer) == 1
        # ln Σ exp z = z_max − ln p_max.
        return ((largest - likeliest.log()) * weights).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        towards_inner, towards_scale, *rest = ctx.saved_tensors
        outer = rest[0] * grad.view(-1, 1, 1) if rest else None
        if outer is not None and ctx.shared:
            outer = outer.sum(0, keepdim=True)
        return towards_inner * grad.view(-1, 1, 1), outer, towards_scale * grad.view(-1, 1), None, None
