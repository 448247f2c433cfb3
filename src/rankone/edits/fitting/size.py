"""How far to go in the direction of an edit: one rule for every kind of edit, be it one scale or a LoRA.

The size of ΔW is s, its multiple: s = 0 is the base model, s = 1 the edit as fitted. Few forget tokens set the direction of
an edit and hardly its size; retained text, of which there is plenty, sets how far one may go. So:

    limit    the largest s up to which the damage to every retained domain, KL(base ‖ edited) or the rise of its
             cross-entropy, stays within its tolerance
    reached  the smallest s ≤ limit at which the forget text is at its target as far as that text can tell: the lower
             end of a one-sided 90% interval (Student's t over its tokens) of the mean cross-entropy
    size     reached, or the limit where that is never so: with four tokens the interval is wide and retained text decides

Many sizes are tried in one forward, stacked along the batch (passes/forward.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.edits.adapters import Change, Method
from rankone.edits.fitting.aim import Aim, Measure
from rankone.edits.fitting.passes.choose import forward_of
from rankone.edits.fitting.passes.forward import Forward, Text
from rankone.edits.fitting.passes.shares import by_width
from rankone.edits.fitting.passes.whole import WholeForward
from rankone.edits.lowrank import Factors, LowRankEdit
from rankone.metrics.damage import half_width
from rankone.models.output import vocabulary_size
from rankone.text.blocks import Blocks

CONFIDENCE = 0.9
# Sizes in one forward; positions, and logits where they are held whole, at a time.
AT_ONCE, POSITIONS_AT_ONCE, LOGITS_AT_ONCE = 5, 2**13, 2**25
# The first sizes tried; where all of them are within the tolerance, or none, the search goes on by this range.
COARSE = (0.25, 1.0, 4.0, 16.0)
LARGEST, SMALLEST = 2.0**8, 2.0**-16
# Of the final bracket: the size is known to this ratio.
RATIO = 1.02


@dataclass(frozen=True)
class Limit:
    """How far retained text lets an edit go: the size, and the damage to each retained domain there, nats per token.

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
        """The largest damage to a retained domain."""
        return max(self.damage.values())


class _Multiples:
    """A fitted edit at several sizes at once, one run each: the change that a forward adds."""

    def __init__(self, edit: LowRankEdit, device: torch.device) -> None:
        self.factors = {s: Factors(*(f.to(device) for f in pair)) for s, pair in edit.factors.items()}

    def sites(self) -> list[str]:
        return list(self.factors)

    def change(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "runs n d_in"]
    ) -> Float[Tensor, "runs n d_out"]:
        return (self.inner(site, parameters, x) @ self.outer(site, parameters)).to(x.dtype)

    def inner(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "own n d_in"]
    ) -> Float[Tensor, "runs n r"]:
        read = self.factors[site].read
        return parameters["size"].to(read).view(-1, 1, 1) * (x.to(read) @ read.T)

    def outer(self, site: str, parameters: Mapping[str, Tensor]) -> Float[Tensor, "1 r d_out"]:  # noqa: ARG002
        return self.factors[site].write.T.unsqueeze(0)


@dataclass(frozen=True)
class Resizable:
    """A fitted change that is not an edit of weights: its method says what it is at a size."""

    method: Method
    parameters: Mapping[str, Tensor]

    @property
    def sites(self) -> list[str]:
        """The sites whose outputs it changes."""
        return self.method.sites()


def _multiples(
    edit: LowRankEdit | Resizable, sizes: Sequence[float], device: torch.device
) -> tuple[Change, dict[str, Tensor]]:
    """A change at several sizes at once, one run each, with its parameters."""
    if isinstance(edit, LowRankEdit):
        return _Multiples(edit, device), {"size": torch.tensor(sizes, device=device)}
    each = [edit.method.resized(edit.parameters, size) for size in sizes]
    return edit.method, {name: torch.stack([one[name] for one in each]) for name in each[0]}


class Held:
    """Retained text by domain, as the forward for edits of some sites keeps it: made once for many edits of them."""

    def __init__(
        self,
        model: PreTrainedModel,
        sites: Sequence[str],
        retain: Mapping[str, Blocks],
        measure: Measure = "kl",
    ) -> None:
        self.model, self.blocks, self.measure = model, dict(retain), measure
        few = next(iter(self.blocks.values())).ids.to(next(model.parameters()).device)
        self.forward = forward_of(model, sites, few)
        self.texts = self._prepared(retain)
        # Of text held for its rise: the mean cross-entropy without an edit, once it is known.
        self.unedited: dict[str, float] = {}

    def with_more(self, texts: Mapping[str, Blocks]) -> Held:
        """The same with other text for some domains; what is kept of the rest is shared."""
        other = copy(self)
        other.blocks, other.texts = {**self.blocks, **texts}, {**self.texts, **self._prepared(texts)}
        other.unedited = {d: value for d, value in self.unedited.items() if d not in texts}
        return other

    def _prepared(self, texts: Mapping[str, Blocks]) -> dict[str, Text]:
        device, following = next(self.model.parameters()).device, self.measure == "rise"
        return {d: self.forward.prepare(blocks.ids.to(device), following) for d, blocks in texts.items()}

    def counted(self, domain: str) -> Bool[Tensor, "rows t"]:
        """The positions of a domain that damage is a mean over: all, or those whose next token is scored."""
        blocks = self.blocks[domain]
        return blocks.present if self.measure == "kl" else F.pad(blocks.valid[:, 1:], (0, 1))


def damages(
    model: PreTrainedModel,
    edit: LowRankEdit | Resizable,
    sizes: Sequence[float],
    retain: Mapping[str, Blocks] | Held,
) -> Float[Tensor, "domains sizes"]:
    """KL(base ‖ edited) of each retained domain at each size, mean over its positions, nats per token (float64).

    Of text held for its `rise` that of the cross-entropy, mean over its scored tokens.
    """
    held = retain if isinstance(retain, Held) else Held(model, edit.sites, retain)
    return torch.stack([_damage(model, edit, sizes, held, domain) for domain in held.blocks])


def _damage(
    model: PreTrainedModel, edit: LowRankEdit | Resizable, sizes: Sequence[float], held: Held, domain: str
) -> Float[Tensor, " sizes"]:
    """The damage to one domain at each size."""
    means = _surprise(model, edit, sizes, held, domain)
    if held.measure == "kl":
        return means
    if domain not in held.unedited:
        held.unedited[domain] = float(_surprise(model, edit, [0.0], held, domain))
    return means - held.unedited[domain]


def _surprise(
    model: PreTrainedModel, edit: LowRankEdit | Resizable, sizes: Sequence[float], held: Held, domain: str
) -> Float[Tensor, " sizes"]:
    """Cross-entropy against a domain's targets less their entropy, mean over what counts, at each size (float64)."""
    total = torch.zeros(len(sizes), dtype=torch.float64)
    text, counted = held.texts[domain], held.counted(domain)
    for values, index in _stacked(held.forward, text, model, edit, sizes, counted):
        some = counted[index.to(counted.device)].to(values.device)
        each = (values - text.entropy[index])[:, some]
        total += each.sum(1, dtype=torch.float64).cpu()
    return total / int(counted.sum())


def removals(
    model: PreTrainedModel,
    edit: LowRankEdit | Resizable,
    sizes: Sequence[float],
    forget: Blocks,
) -> list[Removal]:
    """What forget text says at each size: the cross-entropy that the base's own predictions there expect (fit.py)."""
    ids = forget.ids.to(next(model.parameters()).device)
    forward = forward_of(model, edit.sites, ids)
    return _removals(model, edit, forget, forward, forward.prepare(ids), sizes)


def _removals(
    model: PreTrainedModel,
    edit: LowRankEdit | Resizable,
    forget: Blocks,
    forward: Forward,
    text: Text,
    sizes: Sequence[float],
) -> list[Removal]:
    each: list[list[Tensor]] = [[] for _ in sizes]
    for values, index in _stacked(forward, text, model, edit, sizes, forget.valid):
        scored = forget.valid[index.to(forget.ids.device)].to(values.device)
        for i in range(len(sizes)):
            each[i].append(values[i][scored].double().cpu())
    return [_removal(torch.cat(values)) for values in each]


def _removal(values: Float[Tensor, " tokens"]) -> Removal:
    count, mean = len(values), float(values.mean())
    if count < 2:
        return Removal(mean, -math.inf)
    return Removal(mean, lower_end(mean, float(values.std()) / math.sqrt(count), count))


def lower_end(mean: float, error: float, count: int) -> float:
    """The lower end of a one-sided 90% interval (Student's t) of a mean over `count` draws, from its standard error."""
    return mean - half_width(error, count, 2 * CONFIDENCE - 1)


def _stacked(
    forward: Forward,
    text: Text,
    model: PreTrainedModel,
    edit: LowRankEdit | Resizable,
    sizes: Sequence[float],
    counted: Bool[Tensor, "rows t"],
) -> Iterator[tuple[Float[Tensor, "sizes rows t"], Int[Tensor, " rows"]]]:
    """(cross-entropy against the base where it counts, indices of the rows) of some rows at a time, all sizes at once."""
    device = text.ids.device
    method, parameters = _multiples(edit, sizes, device)
    positions = POSITIONS_AT_ONCE
    if isinstance(forward, WholeForward):
        positions = LOGITS_AT_ONCE // vocabulary_size(model)
    rows = max(1, positions // (len(sizes) * text.ids.shape[1]))
    with torch.no_grad():
        for index in by_width(counted).to(device).split(rows):
            scored = counted[index.to(counted.device)].to(device).unsqueeze(0)
            yield forward.each(text, index.unsqueeze(0), method, parameters, scored), index


def find_limit(
    model: PreTrainedModel,
    edit: LowRankEdit | Resizable,
    retain: Mapping[str, Blocks] | Held,
    aim: Aim,
    likely: Mapping[str, float] | None = None,
) -> Limit:
    """The largest size up to which the damage to no retained domain exceeds what the aim tolerates there, to 2%.

    The first crossing counts: what comes back below the tolerance further out is not trusted. likely: the damage at some
    size, where it is known: the domains that it strains most are asked first, which changes no answer.
    """
    held = retain if isinstance(retain, Held) else Held(model, edit.sites, retain, aim.measure)
    order, known = list(held.blocks), dict[float, dict[str, float]]()
    if likely:
        order.sort(key=lambda domain: -aim.strain({domain: likely[domain]}))

    def strain(domain: str, size: float) -> float:
        known.setdefault(size, {})[domain] = value = float(_damage(model, edit, [size], held, domain))
        return aim.strain({domain: value})

    def worst(size: float) -> float:
        """The largest strain at a size; one over the bar ends the question, so the likeliest domain comes first."""
        strains: dict[str, float] = {}
        for domain in order:
            strains[domain] = strain(domain, size)
            if not strains[domain] <= 1:
                order.insert(0, order.pop(order.index(domain)))
                return strains[domain]
        order.sort(key=lambda domain: -strains[domain])
        return strains[order[0]]

    size, bounded = first_crossing(worst)
    for domain in held.blocks:
        if domain not in known.get(size, {}):
            strain(domain, size)
    return Limit(size, {domain: known[size][domain] for domain in held.blocks}, bounded)


def within_limit(model: PreTrainedModel, edit: LowRankEdit | Resizable, held: Held, aim: Aim) -> Limit:
    """Size 1, unbounded, where every retained domain is within its tolerance there, else the limit, which lies below."""
    damage = damage_at(model, edit, 1.0, held)
    if aim.strain(damage) <= 1:
        return Limit(1.0, damage, bounded=False)
    return find_limit(model, edit, held, aim)


def damage_at(
    model: PreTrainedModel, edit: LowRankEdit | Resizable, size: float, held: Held
) -> dict[str, float]:
    """The damage to every retained domain at one size."""
    return dict(zip(held.blocks, damages(model, edit, [size], held)[:, 0].tolist(), strict=True))


def first_crossing(strain: Callable[[float], float]) -> tuple[float, bool]:
    """(the largest size below the first one whose strain exceeds 1, to 2%; whether any did).

    `strain` gives that of a size, 0 at size 0; of one beyond a size that strains too much it is not asked. A coarse grid
    finds the first crossing, interpolation along a power law the place. (0, True) where even the smallest size
    strains too much.
    """
    low, high, sizes = _Point(0.0, 0.0), _Point(math.inf, math.inf), list(COARSE)
    span = sizes[-1] / sizes[0] * sizes[1] / sizes[0]
    while low.size == 0 or math.isinf(high.size):
        low, high = _bracket(sizes, strain, low, high)
        if low.size == 0:
            if sizes[0] <= SMALLEST:
                return 0.0, True
            sizes = [size / span for size in sizes]
        elif math.isinf(high.size):
            if low.size >= LARGEST:
                return low.size, False
            sizes = [size * span for size in sizes]
    while high.size / low.size > RATIO:
        sizes = _around_crossing(low, high)
        low, high = _bracket(sizes, strain, low, high)
    return low.size, True


class _Point(NamedTuple):
    size: float
    strain: float


def _bracket(
    sizes: Sequence[float], strain: Callable[[float], float], low: _Point, high: _Point
) -> tuple[_Point, _Point]:
    """(last point before the first strain over 1, that point); NaN and infinity count as over it."""
    for size in sizes:
        point = _Point(size, strain(size))
        if not point.strain <= 1:
            return low, point
        low = point
    return low, high


def _around_crossing(low: _Point, high: _Point) -> list[float]:
    """Two sizes close about where a power law through both points meets 1, and inside them; else the middle."""
    width, step = math.log(high.size / low.size), math.log(RATIO) / 2
    share = 0.5
    if 0 < low.strain < high.strain < math.inf:
        share = math.log(1 / low.strain) / math.log(high.strain / low.strain)
    places = [share * width - step * 0.99, share * width + step * 0.99]
    inside = [place for place in places if 0 < place < width]
    # A guess that has failed leaves a bracket whose one side hardly moved: halve that too.
    return [low.size * math.exp(place) for place in sorted({*inside, width / 2})]


def size_edit(
    model: PreTrainedModel,
    edit: LowRankEdit | Resizable,
    forget: Blocks,
    retain: Mapping[str, Blocks] | Held,
    aim: Aim,
    limit: Limit | None = None,
) -> Sized:
    """The size of an edit by the rule above. limit: of this edit, where it is known already (it costs most)."""
    held = retain if isinstance(retain, Held) else Held(model, edit.sites, retain, aim.measure)
    limit = limit or find_limit(model, edit, held, aim)
    text = held.forward.prepare(forget.ids.to(next(model.parameters()).device))
    removed_at = partial(_removals, model, edit, forget, held.forward, text)
    low, high = 0.0, limit.size
    sizes = [high / 2**k for k in range(AT_ONCE, -1, -1)]
    reached = False
    while high > 0:
        removed = removed_at(sizes)
        first = next((i for i, r in enumerate(removed) if r.lower >= aim.target), None)
        if first is None:
            break
        reached, high = True, sizes[first]
        low = sizes[first - 1] if first else low
        if low == 0 or high / low <= RATIO:
            break
        ratio = (high / low) ** (1 / (AT_ONCE + 1))
        sizes = [low * ratio**i for i in range(1, AT_ONCE + 2)]
    return _at(model, edit, high, removed_at([high])[0], held, reached, limit)


def _at(
    model: PreTrainedModel,
    edit: LowRankEdit | Resizable,
    size: float,
    removal: Removal,
    held: Held,
    reached: bool,
    limit: Limit,
) -> Sized:
    """An edit at its final size, measured there."""
    if size == limit.size:
        return Sized(size, removal, limit.damage, reached, limit)
    return Sized(size, removal, damage_at(model, edit, size, held), reached, limit)
