"""Which parts to delete (α = 0), so that one domain's cross-entropy rises most and every other one's stays in a tolerance.

Greedy, from measured trade-offs. Each round, slopes at the weights as they stand say which parts are worth a look: deleting
part c moves the cross-entropy of a domain by about −g_c + ½ F_c (g its slope in α, F the mean square of its contributions by
position, the empirical Fisher information). The best by removal per damage are then measured one by one on validation text,
damage in units of what is left of each tolerance, and as many of the best as together keep the tolerances are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.gradients import Slopes, scale_slopes
from rankone.edits.lowrank import LowRankEdit
from rankone.metrics.cross_entropy import text_losses
from rankone.parts.parts import Parts
from rankone.text.blocks import Blocks

# Parts measured in a round; what a part must promise to remove, nats per token.
MEASURED, LEAST = 48, 2e-4
# Of a tolerance: what counts as left where less is.
LITTLE = 0.02
Losses = dict[str, float]


@dataclass(frozen=True)
class Deletion:
    """Deleted parts in the order they were taken, and the rise of each domain on validation text, nats per token."""

    names: tuple[str, ...]
    rises: Losses
    edit: LowRankEdit


@dataclass
class _Pool:
    """Parts of several origins at the same sites, side by side."""

    sets: Sequence[Parts]
    names: list[str] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        sites = list(dict.fromkeys(site for parts in self.sets for site in parts.sites))
        factors = {}
        for site in sites:
            held = [parts for parts in self.sets if site in parts.sites]
            pairs = [tuple(f.detach().float() for f in parts.factors(site)) for parts in held]
            factors[site] = (torch.cat([v for v, _ in pairs], dim=1), torch.cat([u for _, u in pairs]))
            self.names += [n for parts in held for n in parts.names() if parts.locate(n)[0] == site]
            self.places += [(site, i) for i in range(factors[site][0].shape[1])]
        self.parts = Parts(factors).frozen()

    def edit(self, chosen: Sequence[int]) -> LowRankEdit:
        """W − Σ u vᵀ over the chosen parts."""
        by_site: dict[str, list[int]] = {}
        for index in chosen:
            site, column = self.places[index]
            by_site.setdefault(site, []).append(column)
        factors = {}
        for site, columns in by_site.items():
            read, write = (f.detach() for f in self.parts.factors(site))
            factors[site] = (-write[columns].T.contiguous(), read[:, columns].T.contiguous())
        return LowRankEdit(factors, description=f"{len(chosen)} parts deleted", method="scales")


class _Search:
    """The set as it grows."""

    def __init__(
        self,
        model: PreTrainedModel,
        pool: _Pool,
        of: str,
        text: Mapping[str, Blocks],
        tolerance: float,
    ) -> None:
        self.model, self.pool, self.of, self.text, self.tolerance = model, pool, of, text, tolerance
        self.others = [d for d in text if d != of]
        self.chosen: list[int] = []
        self.barred: set[int] = set()
        self.base = self.now = self._losses()

    def _losses(self) -> Losses:
        return {d: losses.mean for d, losses in text_losses(self.model, self.text).items()}

    def measure(self, chosen: Sequence[int]) -> Losses:
        with self.pool.edit(chosen).applied(self.model):
            return self._losses()

    def rises(self, losses: Losses) -> Losses:
        return {d: losses[d] - self.base[d] for d in losses}

    def left(self) -> Losses:
        """What is left of the tolerance of each other domain."""
        spent = self.rises(self.now)
        return {d: max(self.tolerance - spent[d], LITTLE * self.tolerance) for d in self.others}

    def promising(self, training: Mapping[str, Blocks]) -> list[int]:
        """The parts worth measuring, by slopes at the weights as they stand."""
        with self.pool.edit(self.chosen).applied(self.model) if self.chosen else nullcontext():
            slopes = {d: scale_slopes(self.model, self.pool.parts, training[d]) for d in self.text}
        score = _score(slopes, self.of, self.left())
        score[[*self.chosen, *self.barred]] = -1
        return [int(i) for i in score.topk(min(MEASURED, len(score))).indices if score[i] > 0]

    def round(self, training: Mapping[str, Blocks]) -> bool:
        """Take what is good of the most promising; False where nothing is."""
        left, trials = self.left(), []
        for index in self.promising(training):
            losses = self.measure([*self.chosen, index])
            gain = losses[self.of] - self.now[self.of]
            cost = max((losses[d] - self.now[d]) / left[d] for d in self.others)
            if gain > 0:
                trials.append((gain / max(cost, 1e-3), index))
            else:
                self.barred.add(index)
        trials.sort(reverse=True)
        count = max(1, len(trials) // 2)
        while trials and count:
            wanted = [*self.chosen, *(index for _, index in trials[:count])]
            losses = self.measure(wanted)
            kept = all(rise <= self.tolerance for d, rise in self.rises(losses).items() if d != self.of)
            if kept and losses[self.of] > self.now[self.of]:
                self.chosen, self.now = wanted, losses
                return True
            count //= 2
        self.barred |= {index for _, index in trials}
        return False


def _score(slopes: Mapping[str, Slopes], of: str, left: Losses) -> Float[Tensor, " parts"]:
    """Removal per damage, from slopes; −1 for what promises next to nothing. Damage: of all domains, as a length."""
    gain = -slopes[of].gradient
    damage = [((0.5 * slopes[d].square - slopes[d].gradient) / left[d]).clamp_min(0) for d in left]
    score = gain / (torch.stack(damage).square().sum(0).sqrt() + 1e-3)
    return torch.where(gain > LEAST, score, torch.full_like(score, -1.0))


def deletion(
    model: PreTrainedModel,
    sets: Sequence[Parts],
    of: str,
    training: Mapping[str, Blocks],
    validation: Mapping[str, Blocks],
    tolerance: float,
    patience: int = 4,
    going: Callable[[Deletion], bool] = lambda _: True,
) -> Deletion:
    """The set of parts whose deletion raises `of` most while no other domain of `validation` rises by more than `tolerance`.

    training: text of the same domains that slopes are taken on. patience: rounds without gain before it ends. going: told
    the set after each round; False ends the search. The model is left as it was.
    """
    if of not in validation or len(validation) < 2 or set(training) != set(validation):
        raise RankOneError(
            f"deletion needs text of '{of}' and of other domains, the same for slopes and validation."
        )
    search, idle = _Search(model, _Pool(sets), of, validation, tolerance), 0
    while idle < patience:
        idle = 0 if search.round(training) else idle + 1
        if not going(_deletion(search)):
            break
    return _deletion(search)


def _deletion(search: _Search) -> Deletion:
    names = tuple(search.pool.names[i] for i in search.chosen)
    return Deletion(names, search.rises(search.now), search.pool.edit(search.chosen))
