"""How far token and domain tell where a unit is on: the score of labels that needs no judge, of latents, neurons and parts.

As `rankone label --score` has it (labels/statistics/firing.py): the log-odds of domain and token, counted on training text,
rank the tokens of other text at which a unit is on above those at which it is not. Here every token is looked at, and none
is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from rankone.circuits.transcoders.judging.clean import Active, Clean
from rankone.circuits.transcoders.rows import packed_rows
from rankone.labels.statistics.firing import FEWEST, FiringPredictor
from rankone.metrics.rank_statistics import roc_area
from rankone.runtime.progress import Meter
from rankone.subject import Subject

# Units of a rival that are looked at, drawn at random, as many of each dictionary or matrix.
UNITS = 256


@dataclass(frozen=True)
class Tagged:
    """Batches of rows from all domains mixed. domain: the place of each row's in `domains`, on the CPU."""

    ids: Int[Tensor, "batches rows length"]
    domain: Int[Tensor, "batches rows"]
    domains: tuple[str, ...]

    @property
    def domain_of_tokens(self) -> Int[Tensor, " n_tokens"]:
        """The domain of every token, in order."""
        return self.domain.flatten().repeat_interleave(self.ids.shape[-1])

    def batches(self) -> Iterator[tuple[Int[Tensor, "rows length"], Int[Tensor, " n_tokens"]]]:
        """(token ids, the domain of every token) of each batch."""
        for ids, domain in zip(self.ids, self.domain, strict=True):
            yield ids, domain.repeat_interleave(ids.shape[-1])


def tagged_text(
    subject: Subject, domains: Sequence[str], split: str, tokens: int, context: int, batch: int, seed: int
) -> Tagged:
    """About `tokens` tokens, equal shares of the domains, in batches of `batch` tokens that mix them."""
    share = max(context, tokens // len(domains))
    rows = [packed_rows(subject, (d,), split, share, context, context, seed) for d in domains]
    tags = np.concatenate([np.full(len(some), i) for i, some in enumerate(rows)])
    order = np.random.default_rng(seed).permutation(len(tags))
    per_batch = min(batch // context, len(tags))
    order = order[: len(order) // per_batch * per_batch].reshape(-1, per_batch)
    ids = torch.from_numpy(np.concatenate(rows).astype(np.int64)[order])
    return Tagged(ids.to(subject.device), torch.from_numpy(tags[order]), tuple(domains))


@torch.no_grad()
def firing_areas(
    clean: Callable[[Int[Tensor, "rows length"]], Clean],
    ways: Mapping[str, Active],
    train: Tagged,
    test: Tagged,
    seed: int,
    bar: Meter,
) -> dict[str, tuple[float, int] | None]:
    """By name (mean area under the ROC curve, of how many units): those that are on, and off, at FEWEST tokens of the test
    text, and on at as many of the training text; None where there are none."""
    known = train.ids.unique().cpu()
    counts = {name: _Counts(active, len(known), len(train.domains), seed) for name, active in ways.items()}
    for ids, domain in train.batches():
        seen, token = clean(ids), torch.searchsorted(known, ids.flatten().cpu())
        for one in counts.values():
            one.count(seen, token, domain)
        bar.advance(1, "where units are on")
    tested: dict[str, list[Tensor]] = {name: [] for name in ways}
    for ids, _ in test.batches():
        seen = clean(ids)
        for name, one in counts.items():
            tested[name].append(one.on(seen))
        bar.advance(1, "where units are on")
    return {
        name: _mean_area(one, torch.cat(tested[name]), known, train, test) for name, one in counts.items()
    }


class _Counts:
    """Of some units of a rival, drawn at random: at how many tokens they are on. by_token: [known tokens, units];
    by_domain: [domains, units]."""

    def __init__(self, active: Active, known: int, domains: int, seed: int) -> None:
        self._active, self._seed, self._chosen = active, seed, list[Tensor]()
        self._sizes = known, domains
        self.by_token = self.by_domain = torch.empty(0)

    def on(self, clean: Clean) -> Bool[Tensor, "n_tokens units"]:
        """Where the units are on."""
        tables = self._active(clean)
        if not self._chosen:
            draws = torch.Generator().manual_seed(self._seed)
            each = max(1, UNITS // len(tables))
            self._chosen = [torch.randperm(t.shape[1], generator=draws)[:each] for t in tables]
            units = sum(map(len, self._chosen))
            self.by_token, self.by_domain = (torch.zeros(size, units) for size in self._sizes)
        return torch.cat(
            [t[:, some.to(t.device)].cpu() for t, some in zip(tables, self._chosen, strict=True)], 1
        )

    def count(self, clean: Clean, token: Int[Tensor, " n_tokens"], domain: Int[Tensor, " n_tokens"]) -> None:
        """Add the tokens of a batch; token: the place of each among those known."""
        on = self.on(clean).float()
        self.by_token.index_add_(0, token, on)
        self.by_domain.index_add_(0, domain, on)


def _mean_area(
    counts: _Counts,
    on: Bool[Tensor, "n_tokens units"],
    known: Int[Tensor, " known"],
    train: Tagged,
    test: Tagged,
) -> tuple[float, int] | None:
    every = torch.searchsorted(known, train.ids.flatten().cpu()).bincount(minlength=len(known))
    per_domain = train.domain_of_tokens.bincount(minlength=len(train.domains))
    tokens, domains = test.ids.flatten().tolist(), [test.domains[i] for i in test.domain_of_tokens.tolist()]
    areas: list[float] = []
    for i, table in enumerate(on.T.numpy()):
        firings = float(counts.by_domain[:, i].sum())
        if min(firings, table.sum(), (~table).sum()) < FEWEST:
            continue
        listed = counts.by_token[:, i].nonzero().squeeze(1)
        pairs = zip(counts.by_token[listed, i].tolist(), every[listed].tolist(), strict=True)
        by_domain = zip(counts.by_domain[:, i].tolist(), per_domain.tolist(), strict=True)
        predictor = FiringPredictor(
            (firings, train.ids.numel()),
            dict(zip(train.domains, by_domain, strict=True)),
            dict(zip(known[listed].tolist(), pairs, strict=True)),
        )
        odds = np.array([predictor.odds(d, t) for d, t in zip(domains, tokens, strict=True)])
        areas.append(roc_area(odds[table], odds[~table]))
    return (sum(areas) / len(areas), len(areas)) if areas else None
