"""What each method did at each budget under one retain set, over its seeds: gathered from `bench.parquet`, with intervals.

Intervals (95%) are over seeds (Student's t; of shares Wilson's), over passages of the test text (bootstrap), and over both
(metrics/bootstrap.py). Only where intervals over both lie apart is an order more than chance.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from rankone.core.config import Record
from rankone.core.errors import RankOneError
from rankone.edits.fitting.aim import CHANCE_SHARE, Aim
from rankone.experiments.bench.ledger import STAGES
from rankone.experiments.bench.tables import BenchRow, FitRow
from rankone.experiments.tables import DAMAGE_BAR, Share
from rankone.metrics.bootstrap import joined, percentile_interval, resampled
from rankone.metrics.damage import half_width
from rankone.metrics.wilson import wilson_interval

_F, _I, _S = pa.float64(), pa.int64(), pa.string()
ENDS = ("low", "high")
Span = tuple[float | None, float | None]
SUMMARY = pa.schema(
    [
        *(pa.field(name, _S, nullable=False) for name in ("method", "retain_set", "stage", "domain", "role")),
        *(pa.field(name, _I, nullable=False) for name in ("budget", "seeds", "successes", "failed")),
        *(
            pa.field(name, _F, nullable=False)
            for name in ("retain_weight", "ce", "rise", "success_low", "success_high")
        ),
        *(
            pa.field(name, _F)
            for name in (
                *("low", "high", "seeds_low", "seeds_high", "passages_low", "passages_high"),
                *("alpha_low", "alpha_high"),
            )
        ),
    ]
)
"""`summary.parquet`: means over seeds at the λ chosen on validation text, with 95% intervals of the rise: over seeds
(Student's t), over passages (bootstrap), and low to high over both, as success_low to success_high are."""


def chosen_weights(rows: Sequence[BenchRow]) -> dict[tuple[str, str, str, int], float]:
    """λ by (method, retain set, stage, budget): the one with the best mean score over seeds on validation text, of those
    that most seeds have run at: where a grid was broken off, or runs failed, few seeds decide nothing.
    """
    scores: dict[tuple[str, str, str, int], dict[float, dict[int, float]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for row in rows:
        worth = row["validation_score"]
        if worth is not None:
            scores[_place(row)][row["retain_weight"]][row["seed"]] = worth
    return {
        place: max(
            by_weight,
            key=lambda w: (len(by_weight[w]), sum(by_weight[w].values()) / len(by_weight[w]), -w),
        )
        for place, by_weight in scores.items()
    }


def _place(row: BenchRow) -> tuple[str, str, str, int]:
    return row["method"], row["retain_set"], row["stage"], row["budget"]


class Passages(Record):
    """A domain's passages under one method at one budget, as many in every run.

    tokens: scored ones of each. base: nats of the unchanged model, in sum. rises: by seed, how far those rose.
    """

    tokens: tuple[int, ...]
    base: tuple[float, ...]
    rises: dict[int, tuple[float, ...]]

    @property
    def alone(self) -> bool:
        """Whether a single passage has scored tokens: no interval over passages can be given."""
        return sum(count > 0 for count in self.tokens) < 2

    def again(self, seeds: Sequence[int], stream: int, edited: bool = False) -> Float[Tensor, "draws seeds"]:
        """The rise (or cross-entropy: `edited`) of some seeds per token on passages drawn anew. stream: which draws."""
        sums = torch.tensor([self.rises[seed] for seed in seeds], dtype=torch.float64)
        if edited:
            sums = sums + torch.tensor(self.base, dtype=torch.float64)
        return resampled(sums, torch.tensor(self.tokens), stream)


class Cellwise(Record):
    """One method at one budget under one retain set and stage, at the chosen λ: its runs by seed, domain → row.

    texts: by domain, what each passage of its text did in each run.
    """

    method: str
    retain_set: str
    stage: str
    budget: int
    retain_weight: float
    seeds: dict[int, dict[str, dict[str, float | None]]]
    texts: dict[str, Passages]
    failed: int

    def values(self, domain: str, column: str) -> list[float]:
        """A column of a domain over seeds."""
        values = (seed.get(domain, {}).get(column) for seed in self.seeds.values())
        return [value for value in values if value is not None]

    def mean(self, domain: str, column: str = "rise") -> float:
        """The mean of a column over seeds."""
        values = self.values(domain, column)
        return sum(values) / len(values)

    def successes(self, aim: Aim) -> int:
        """Seeds at chance whose judged domains rose by less than the bar."""
        return sum(
            aim.removed(_known(seed[aim.domain]["ce"]))
            and max(_known(seed[d]["rise"]) for d in aim.retain) < DAMAGE_BAR
            for seed in self.seeds.values()
        )

    def over_seeds(self, domain: str) -> Span:
        """95% interval of the mean rise over seeds."""
        return interval(self.values(domain, "rise"))

    def over_text(self, domain: str) -> Span:
        """95% interval of the mean rise over passages of the test text; (None, None) for a single passage."""
        text = self.texts[domain]
        if text.alone:
            return None, None
        return percentile_interval(text.again(list(text.rises), 0).mean(1))

    def interval(self, domain: str) -> Span:
        """95% interval of the mean rise over both."""
        return joined(self.mean(domain), self.over_seeds(domain), self.over_text(domain))

    def counted(self, aim: Aim) -> str:
        """How many seeds succeed, and the interval of the share: `8/9 (0.56 to 0.98)`."""
        return Share(self.successes(aim), len(self.seeds), *self.share(aim)).said

    def share(self, aim: Aim) -> tuple[float, float]:
        """95% interval of the share of seeds that succeed: over seeds (Wilson) and over passages."""
        share, count = self.successes(aim) / len(self.seeds), len(self.seeds)
        low, high = joined(share, wilson_interval(share, count), percentile_interval(self._shares(aim)))
        return max(0.0, low or 0.0), min(1.0, 1.0 if high is None else high)

    def _shares(self, aim: Aim) -> Float[Tensor, " draws"]:
        """The share that succeeds on passages drawn anew, those of each domain by themselves."""
        seeds = list(self.seeds)
        removed = self.texts[aim.domain].again(seeds, 0, edited=True) >= CHANCE_SHARE * aim.chance
        for stream, domain in enumerate(aim.retain, start=1):
            removed = removed & (self.texts[domain].again(seeds, stream) < DAMAGE_BAR)
        return removed.double().mean(1)


def mean_damage(cells: Sequence[Cellwise], which: Sequence[Sequence[bool]], aim: Aim) -> tuple[float, Span]:
    """Of some runs of cells (by seed, in their order) the mean of the worst rise of the judged domains, and its interval."""
    rises, draws = list[float](), list[Float[Tensor, "draws runs"]]()
    for cell, these in zip(cells, which, strict=True):
        seeds = [seed for seed, one in zip(cell.seeds, these, strict=True) if one]
        if not seeds:
            continue
        rises += [max(_known(cell.seeds[seed][d]["rise"]) for d in aim.retain) for seed in seeds]
        texts = [cell.texts[d].again(seeds, stream) for stream, d in enumerate(aim.retain, start=1)]
        draws.append(torch.stack(texts).amax(0))
    mean = sum(rises) / len(rises)
    alone = any(cell.texts[d].alone for cell in cells for d in aim.retain)
    over_text = (None, None) if alone else percentile_interval(torch.cat(draws, 1).mean(1))
    return mean, joined(mean, interval(rises), over_text)


def _known(value: float | None) -> float:
    return float("nan") if value is None else value


def gathered(rows: Sequence[BenchRow], stage: str, fits: Sequence[FitRow] = ()) -> list[Cellwise]:
    """Methods by retain set and budget at the λ chosen for them; of `fits` those that failed or diverged are counted."""
    weights = chosen_weights(rows)
    seeds: dict[tuple[str, str, str, int], dict[int, dict[str, dict[str, float | None]]]] = defaultdict(dict)
    texts: dict[tuple[str, str, str, int], dict[str, Passages]] = defaultdict(dict)
    failed: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for row in fits:
        if row["status"] != "ok":
            failed[row["method"], row["retain_set"], row["budget"]].add(row["key"])
    for row in rows:
        place = _place(row)
        if row["stage"] == stage and row["retain_weight"] == weights.get(place):
            seeds[place].setdefault(row["seed"], {})[row["domain"]] = {
                "ce": row["ce"],
                "rise": row["rise"],
                "alpha": row["alpha"],
                "size": row["size"],
            }
            _add_passages(texts[place], row)
    return [
        Cellwise(
            method=method,
            retain_set=retain_set,
            stage=stage,
            budget=budget,
            retain_weight=weights[method, retain_set, stage, budget],
            seeds=by_seed,
            texts=texts[method, retain_set, stage, budget],
            failed=len(failed[method, retain_set, budget]),
        )
        for (method, retain_set, _, budget), by_seed in seeds.items()
    ]


def by_stage(rows: Sequence[BenchRow], fits: Sequence[FitRow]) -> dict[str, list[Cellwise]]:
    """What was gathered of every stage that there is."""
    return {stage: cells for stage in STAGES if (cells := gathered(rows, stage, fits))}


def _add_passages(texts: dict[str, Passages], row: BenchRow) -> None:
    """One run's passages of one domain; RankOneError where they are not those of the run before."""
    tokens, base = tuple(row["passage_tokens"]), tuple(row["passage_base"])
    known = texts.get(row["domain"], Passages(tokens=tokens, base=base, rises={}))
    if known.tokens != tokens:
        raise RankOneError(f"runs of '{row['method']}' were measured on other passages of {row['domain']}.")
    rises = {**known.rises, row["seed"]: tuple(row["passage_rise"])}
    texts[row["domain"]] = known.model_copy(update={"rises": rises})


def interval(values: Sequence[float]) -> Span:
    """95% interval of the mean over seeds; (None, None) for a single one."""
    count = len(values)
    if count < 2:
        return None, None
    mean = sum(values) / count
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1) / count)
    half = half_width(spread, count)
    return mean - half, mean + half


def summary_rows(rows: Sequence[BenchRow], aim: Aim, fits: Sequence[FitRow] = ()) -> list[dict[str, object]]:
    """Rows of `summary.parquet`."""
    return [
        _summary_row(cell, domain, aim)
        for stage in STAGES
        for cell in gathered(rows, stage, fits)
        for domain in dict.fromkeys(d for seed in cell.seeds.values() for d in seed)
    ]


def _summary_row(cell: Cellwise, domain: str, aim: Aim) -> dict[str, object]:
    alphas = cell.values(domain, "alpha")
    success_low, success_high = cell.share(aim)
    spans = {
        "": cell.interval(domain),
        "seeds_": cell.over_seeds(domain),
        "passages_": cell.over_text(domain),
    }
    return {
        **{
            key: getattr(cell, key)
            for key in ("method", "retain_set", "stage", "budget", "retain_weight", "failed")
        },
        "domain": domain,
        "role": aim.role(domain),
        "seeds": len(cell.seeds),
        "successes": cell.successes(aim),
        "success_low": success_low,
        "success_high": success_high,
        "ce": cell.mean(domain, "ce"),
        "rise": cell.mean(domain),
        **{f"{over}{end}": at for over, span in spans.items() for end, at in zip(ENDS, span, strict=True)},
        "alpha_low": min(alphas) if alphas else None,
        "alpha_high": max(alphas) if alphas else None,
    }
