"""How far to go in the direction of an edit: one rule for every kind of edit, be it one scale or a LoRA.

The size of ΔW is s, its multiple: s = 0 is the base model, s = 1 the edit as fitted. Few forget tokens tell the direction of
an edit and hardly its size; retained text, of which there is plenty, tells how far one may go. So:

    limit    the largest s up to which KL(base ‖ edited) stays within the tolerance on every retained domain
    reached  the smallest s ≤ limit at which the forget text is at its target as far as that text can tell: the lower
             end of a one-sided 90% interval (Student's t over its tokens) of the mean cross-entropy
    size     reached, or the limit where that is never so: with four tokens the interval is wide and retained text decides

Many sizes are tried in one forward, stacked along the batch with the base model as size 0, so the KL is exact and no
log-probabilities of the base are stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.stats import t as student
from torch import Tensor
from transformers import PreTrainedModel

from rankone.edits.adapters import adapted
from rankone.edits.fitting.aim import Aim
from rankone.edits.lowrank import Factors, LowRankEdit
from rankone.metrics.kl import Prediction
from rankone.models.output import vocabulary_size
from rankone.text.blocks import Blocks

CONFIDENCE = 0.9
# Sizes in one forward; logits held at a time.
AT_ONCE, LOGITS_AT_ONCE = 5, 2**25
# The first sizes tried; where all of them are within the tolerance, or none, the search goes on by this range.
COARSE = (0.25, 1.0, 4.0, 16.0)
LARGEST, SMALLEST = 2.0**8, 2.0**-16
# Of the final bracket: the size is known to this ratio.
RATIO = 1.02


@dataclass(frozen=True)
class Limit:
    """How far retained text lets an edit go: the size, and the KL (nats per token) of each retained domain there.

    bounded: False where no size tried reached the tolerance, so that nothing but the search's end set it.
    """

    size: float
    damage: Mapping[str, float]
    bounded: bool = True


@dataclass(frozen=True)
class Removal:
    """What forget text says of an edit of one size: mean cross-entropy (nats per token) and the lower end of its interval.

    lower is −∞ for a single token.
    """

    mean: float
    lower: float


@dataclass(frozen=True)
class Sized:
    """The size of an edit and why: what it removes there, what it costs, whether the forget text could tell it enough."""

    size: float
    removal: Removal
    damage: Mapping[str, float]
    reached: bool
    limit: Limit

    @property
    def worst(self) -> float:
        """The largest KL of a retained domain."""
        return max(self.damage.values())


class _Multiples:
    """A fitted edit at several sizes at once, one run each: what `adapted` puts in place."""

    def __init__(self, edit: LowRankEdit, device: torch.device) -> None:
        self.factors = {s: Factors(*(f.to(device) for f in pair)) for s, pair in edit.factors.items()}

    def sites(self) -> list[str]:
        return list(self.factors)

    def change(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "runs n d_in"]
    ) -> Float[Tensor, "runs n d_out"]:
        write, read = self.factors[site]
        moved = (x.to(read.dtype) @ read.T) @ write.T
        return (parameters["size"].to(moved).view(-1, 1, 1) * moved).to(x.dtype)


def damages(
    model: PreTrainedModel, edit: LowRankEdit, sizes: Sequence[float], retain: Mapping[str, Blocks]
) -> Float[Tensor, "domains sizes"]:
    """KL(base ‖ edited) of each retained domain at each size, mean over its positions, nats per token (float64, exact)."""
    kl = torch.zeros(len(retain), len(sizes), dtype=torch.float64)
    for row, text in enumerate(retain.values()):
        for logits, index in _stacked(model, edit, [0.0, *sizes], text):
            present = text.present[index].to(logits.device)
            base = Prediction(logits[0][present])
            for i in range(len(sizes)):
                kl[row, i] += base.kl(logits[i + 1][present]).sum(dtype=torch.float64).cpu()
        kl[row] /= int(text.present.sum())
    return kl


def removals(
    model: PreTrainedModel, edit: LowRankEdit, sizes: Sequence[float], forget: Blocks
) -> list[Removal]:
    """What forget text says at each size: the cross-entropy that the base's own predictions there expect (fit.py)."""
    each: list[list[Tensor]] = [[] for _ in sizes]
    for logits, index in _stacked(model, edit, [0.0, *sizes], forget):
        scored = forget.valid[index].to(logits.device)
        base = Prediction(logits[0][scored])
        for i in range(len(sizes)):
            each[i].append(base.cross_entropy(logits[i + 1][scored]).double().cpu())
    return [_removal(torch.cat(values)) for values in each]


def _removal(values: Float[Tensor, " tokens"]) -> Removal:
    count, mean = len(values), float(values.mean())
    if count < 2:
        return Removal(mean, -math.inf)
    error = float(values.std()) / math.sqrt(count)
    return Removal(mean, mean - float(student.ppf(CONFIDENCE, count - 1)) * error)


def _stacked(
    model: PreTrainedModel, edit: LowRankEdit, sizes: Sequence[float], text: Blocks
) -> Iterator[tuple[Tensor, Tensor]]:
    """(logits [sizes, rows, t, vocab], indices of the rows) of a few rows at a time, all sizes in one forward."""
    device = next(model.parameters()).device
    method, values = _Multiples(edit, device), torch.tensor(sizes, device=device)
    rows = max(1, LOGITS_AT_ONCE // (len(sizes) * text.ids.shape[1] * vocabulary_size(model)))
    with torch.no_grad(), adapted(model, method, {"size": values}, len(sizes)):
        for index in torch.arange(len(text.ids)).split(rows):
            ids = text.ids[index.to(text.ids.device)].to(device)
            logits = model(input_ids=ids.repeat(len(sizes), 1), use_cache=False).logits
            yield logits.unflatten(0, (len(sizes), -1)), index


def find_limit(
    model: PreTrainedModel, edit: LowRankEdit, retain: Mapping[str, Blocks], tolerance: float
) -> Limit:
    """The largest size up to which no retained domain's KL exceeds `tolerance` (nats per token), to 2%.

    The first crossing counts: what comes back below the tolerance further out is not trusted.
    """

    def worst(sizes: Sequence[float]) -> list[float]:
        return damages(model, edit, sizes, retain).max(0).values.tolist()

    size, bounded = first_crossing(worst, tolerance)
    kl = damages(model, edit, [size], retain)[:, 0].tolist()
    return Limit(size, dict(zip(retain, kl, strict=True)), bounded)


def first_crossing(values: Callable[[Sequence[float]], list[float]], bar: float) -> tuple[float, bool]:
    """(the largest size below the first one whose value exceeds `bar`, to 2%; whether any did).

    `values` gives the value of each of several sizes, 0 at size 0. A coarse grid finds the first crossing, interpolation
    along a power law the place. (0, True) where even the smallest size exceeds the bar.
    """
    low, high, sizes = _Point(0.0, 0.0), _Point(math.inf, math.inf), list(COARSE)
    span = sizes[-1] / sizes[0] * sizes[1] / sizes[0]
    while low.size == 0 or math.isinf(high.size):
        low, high = _bracket(sizes, values(sizes), bar, low, high)
        if low.size == 0:
            if sizes[0] <= SMALLEST:
                return 0.0, True
            sizes = [size / span for size in sizes]
        elif math.isinf(high.size):
            if low.size >= LARGEST:
                return low.size, False
            sizes = [size * span for size in sizes]
    while high.size / low.size > RATIO:
        sizes = _around_crossing(low, high, bar)
        low, high = _bracket(sizes, values(sizes), bar, low, high)
    return low.size, True


class _Point(NamedTuple):
    size: float
    value: float


def _bracket(
    sizes: Sequence[float], values: Sequence[float], bar: float, low: _Point, high: _Point
) -> tuple[_Point, _Point]:
    """(last point before the first value over the bar, that point); NaN and infinity count as over it."""
    for point in map(_Point, sizes, values):
        if not point.value <= bar:
            return low, point
        low = point
    return low, high


def _around_crossing(low: _Point, high: _Point, bar: float) -> list[float]:
    """Two sizes close about where a power law through both points meets the bar, and inside them; else the middle."""
    width, step = math.log(high.size / low.size), math.log(RATIO) / 2
    share = 0.5
    if 0 < low.value < high.value < math.inf:
        share = math.log(bar / low.value) / math.log(high.value / low.value)
    places = [share * width - step * 0.99, share * width + step * 0.99]
    inside = [place for place in places if 0 < place < width]
    # A guess that has failed leaves a bracket whose one side hardly moved: halve that too.
    return [low.size * math.exp(place) for place in sorted({*inside, width / 2})]


def size_edit(
    model: PreTrainedModel,
    edit: LowRankEdit,
    forget: Blocks,
    retain: Mapping[str, Blocks],
    aim: Aim,
    limit: Limit | None = None,
) -> Sized:
    """The size of an edit by the rule above. limit: of this edit, where it is known already (it costs most)."""
    limit = limit or find_limit(model, edit, retain, aim.tolerance)
    low, high = 0.0, limit.size
    sizes = [high / 2**k for k in range(AT_ONCE, -1, -1)]
    reached = False
    while high > 0:
        removed = removals(model, edit, sizes, forget)
        first = next((i for i, r in enumerate(removed) if r.lower >= aim.target), None)
        if first is None:
            break
        reached, high = True, sizes[first]
        low = sizes[first - 1] if first else low
        if low == 0 or high / low <= RATIO:
            break
        ratio = (high / low) ** (1 / (AT_ONCE + 1))
        sizes = [low * ratio**i for i in range(1, AT_ONCE + 2)]
    return _at(model, edit, high, forget, retain, reached, limit)


def _at(
    model: PreTrainedModel,
    edit: LowRankEdit,
    size: float,
    forget: Blocks,
    retain: Mapping[str, Blocks],
    reached: bool,
    limit: Limit,
) -> Sized:
    """An edit at its final size, measured there."""
    (removal,) = removals(model, edit, [size], forget)
    if size == limit.size:
        return Sized(size, removal, limit.damage, reached, limit)
    kl = damages(model, edit, [size], retain)[:, 0].tolist()
    return Sized(size, removal, dict(zip(retain, kl, strict=True)), reached, limit)
