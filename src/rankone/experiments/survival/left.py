"""What an attack leaves of an edit, with 95% intervals over the seeds of the attack and over passages of the test text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.experiments.bench.summary import Span, interval
from rankone.experiments.survival.config import Attack, Left, Mean
from rankone.metrics.bootstrap import joined, percentile_interval, resampled
from rankone.metrics.cross_entropy import PassageLosses

Losses = Mapping[str, PassageLosses]


@dataclass(frozen=True)
class Attacked:
    """One run of an attack: losses by domain after it and, on the same tokens, of the model before the edit.

    seed: None of an attack that draws nothing. removed: the rise on the domain to forget without the attack, on the same
    tokens. control: where the attack trains, losses of the model before the edit after it too.
    """

    budget: int
    seed: int | None
    after: Losses
    before: Losses
    removed: PassageLosses
    control: Losses | None = None

    def rise(self, domain: str) -> PassageLosses:
        """How far a domain's losses rose."""
        return self.after[domain].beyond(self.before[domain])

    def kept(self, domain: str) -> PassageLosses:
        """What is left of the removal: the damage that training does to the unedited model too is no part of it."""
        return self.after[domain].beyond((self.control or self.before)[domain])


def left_of(attack: Attack, runs: Sequence[Attacked], forget: str) -> Left:
    """The runs of one attack at one budget together."""
    rises = {domain: _mean(runs, *_means([run.rise(domain) for run in runs])) for domain in runs[0].after}
    others = {domain: rise for domain, rise in rises.items() if domain != forget}
    worst = max(others, key=lambda d: others[d].mean, default=None)
    kept, removed = [run.kept(forget) for run in runs], runs[0].removed
    shares = [1 - one.mean / removed.mean for one in kept]
    return Left(
        attack=attack,
        budget=runs[0].budget,
        seeds=len(runs),
        rise=rises[forget],
        regained=_mean(runs, shares, _shares_drawn(kept, removed)),
        worst=worst,
        elsewhere=None if worst is None else others[worst],
    )


def _means(every: Sequence[PassageLosses]) -> tuple[list[float], Float[Tensor, " draws"] | None]:
    """The mean of every run, and those of all on passages drawn anew; None where a single passage has scored tokens."""
    return [one.mean for one in every], _drawn(every)


def _drawn(every: Sequence[PassageLosses]) -> Float[Tensor, " draws"] | None:
    if int((every[0].tokens > 0).sum()) < 2:
        return None
    return resampled(torch.stack([one.sums for one in every]), every[0].tokens).mean(1)


def _shares_drawn(kept: Sequence[PassageLosses], removed: PassageLosses) -> Float[Tensor, " draws"] | None:
    """The same of the share that came back, on the passages that the removal is drawn from too."""
    left = _drawn(kept)
    whole = resampled(removed.sums.unsqueeze(0), removed.tokens).squeeze(1)
    # On some passages nothing is removed: of what came back there is no share.
    return None if left is None or float(whole.min()) <= 0 else 1 - left / whole


def _mean(runs: Sequence[Attacked], values: Sequence[float], drawn: Float[Tensor, " draws"] | None) -> Mean:
    mean = sum(values) / len(values)
    over: list[Span] = [(None, None) if drawn is None else percentile_interval(drawn)]
    if runs[0].seed is not None:
        over.append(interval(values))
    low, high = joined(mean, *over)
    return Mean(mean=mean, low=low, high=high)
