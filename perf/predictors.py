"""How well is the damage predicted? Predicted beside measured rises over many parts and all domains.

The best predictor is chosen on validation text and reported on test text, where a perfect one would still be limited by
the noise of the measurement; what the rises measured on validation text say of those on test text is given beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.edits.selection import specificity, top_names
from rankone.experiments.investigation.effects import token_losses
from rankone.experiments.investigation.prediction import PREDICTORS, Predictor, Statistics, statistics
from rankone.experiments.investigation.study import study_text
from rankone.experiments.investigation.traces import traces
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.reading.summary import Importances
from rankone.metrics.rank_statistics import spearman
from rankone.render.tables import Table
from rankone.render.values import formatted
from rankone.runtime.progress import meter
from rankone.workspace import Workspace

# A subcomponent of less mean importance in every domain changes too little to be ranked.
ALIVE = 0.005


class CheckConfig(Config):
    """Parts, scales, tokens per domain and split, label draws, seed of the choice."""

    parts: int = Field(default=24, ge=2)
    alphas: tuple[float, ...] = Field(default=(-1.0, -8.0), min_length=1)
    tokens: int = Field(default=600, gt=0)
    draws: int = Field(default=4, gt=0)
    seed: int = 0


class Score(Config):
    """Spearman's correlation of predicted and measured rises at one α.

    Over the domains: mean and median over `parts` parts (those where it is defined). pooled: over all pairs at once.
    """

    domains_mean: float | None
    domains_median: float | None
    parts: int
    pooled: float | None


class MeasuredRise(Config):
    """The rise of a domain's cross-entropy with one part at α, nats per token."""

    split: str
    alpha: float
    part: str
    domain: str
    rise: float


Scores = dict[Predictor, dict[float, Score]]
"""By predictor and α."""


class CheckReport(Config):
    """Scores by split (validation, test), predictor and α, every rise, and the predictor best on validation text.

    repeated: how well the rises measured on validation text predict those on test text, by α.
    """

    config: CheckConfig
    parts: tuple[str, ...]
    domains: tuple[str, ...]
    best: Predictor
    scores: dict[str, Scores]
    repeated: dict[float, Score]
    rises: tuple[MeasuredRise, ...]


def chosen_parts(importances: Importances, count: int, seed: int = 0) -> list[str]:
    """Half of them specific to one domain or another, taken in turns, half drawn from the others that are alive."""
    alive = (importances.mean.max(0).values > ALIVE).nonzero().flatten().tolist()
    if len(alive) < count:
        raise RankOneError(
            f"only {len(alive)} subcomponents of the harvest have a mean importance over {ALIVE} in some domain, but "
            f"{count} are to be checked. Ask for fewer."
        )
    candidates = {importances.names[i] for i in alive}
    ranked = [
        [n for n in top_names(importances, specificity(importances, d), count) if n in candidates]
        for d in importances.domains
    ]
    turns = [names[i] for i in range(count) for names in ranked if i < len(names)]
    specific = list(dict.fromkeys(turns))[: count // 2]
    others = [importances.names[i] for i in alive if importances.names[i] not in specific]
    order = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed)).tolist()
    return specific + [others[i] for i in order[: count - len(specific)]]


def check(
    workspace: Workspace,
    store: HarvestStore,
    config: CheckConfig,
) -> CheckReport:
    """Measure and predict on validation and test text."""
    store.require_subcomponents("the check")
    importances = store.importances()
    names = chosen_parts(importances, config.parts, config.seed)
    columns = [importances.names.index(n) for n in names]
    splits = {}
    for split in ("validation", "test"):
        text = study_text(workspace, store.domains(), split, config.tokens)
        settings = [{}, *({name: alpha} for alpha in config.alphas for name in names)]
        measured, traced, base = [], [], []
        with meter(
            f"{split}: turning {len(names)}", sum(b.tokens for b in text.values()) * len(settings)
        ) as bar:
            for blocks in text.values():
                losses = token_losses(workspace, settings, blocks, bar.advance)
                rises = (losses[1:] - losses[0]).sum((1, 2)) / blocks.tokens
                measured.append(rises.view(len(config.alphas), len(names)))
                traced.append(traces(workspace, names, blocks, config.draws, config.seed))
                base.append(losses[0])
        counted = statistics(traced, importances.mean[:, columns], base, workspace.vocabulary)
        splits[split] = torch.stack(measured, dim=-1), counted
    return _report(config, names, store.domains(), splits)


Split = tuple[Float[Tensor, "alphas parts domains"], Statistics]


def _report(
    config: CheckConfig, names: Sequence[str], domains: Sequence[str], splits: Mapping[str, Split]
) -> CheckReport:
    scores: dict[str, Scores] = {
        split: {
            name: _scores(config, measured, predicted)
            for name, predicted in _predictions(config, counted).items()
        }
        for split, (measured, counted) in splits.items()
    }
    validation = scores["validation"]
    best = max(validation, key=lambda name: _mean(validation[name]))
    rows = [
        MeasuredRise(split=split, alpha=alpha, part=name, domain=domain, rise=float(measured[a, c, d]))
        for split, (measured, _) in splits.items()
        for a, alpha in enumerate(config.alphas)
        for c, name in enumerate(names)
        for d, domain in enumerate(domains)
    ]
    return CheckReport(
        config=config,
        parts=tuple(names),
        domains=tuple(domains),
        best=best,
        scores=scores,
        repeated=_scores(config, splits["test"][0], splits["validation"][0]),
        rises=tuple(rows),
    )


def _predictions(
    config: CheckConfig, counted: Statistics
) -> dict[Predictor, Float[Tensor, "alphas parts domains"]]:
    return {
        name: torch.stack([predict(counted, a).T for a in config.alphas])
        for name, predict in PREDICTORS.items()
    }


def _scores(
    config: CheckConfig,
    measured: Float[Tensor, "alphas parts domains"],
    predicted: Float[Tensor, "alphas parts domains"],
) -> dict[float, Score]:
    scores = {}
    for i, alpha in enumerate(config.alphas):
        each = [spearman(p, m) for p, m in zip(predicted[i], measured[i], strict=True)]
        known = torch.tensor([r for r in each if r is not None], dtype=torch.float64)
        scores[alpha] = Score(
            domains_mean=float(known.mean()) if len(known) else None,
            domains_median=float(known.median()) if len(known) else None,
            parts=len(known),
            pooled=spearman(predicted[i].flatten(), measured[i].flatten()),
        )
    return scores


def _mean(scores: Mapping[float, Score]) -> float:
    """What the best is chosen by: the correlation over the domains, mean over parts and scales."""
    values = [score.domains_mean for score in scores.values()]
    return sum(v or 0.0 for v in values) / len(values)


def check_table(report: CheckReport) -> Table:
    """The scores as a table, test text, the predictor that was best on validation text marked."""
    alphas = report.config.alphas
    columns = [
        "predictor",
        *(f"{split} α = {formatted(a, 'g')}" for split in ("validation", "test") for a in alphas),
    ]
    columns += [f"test, all pairs α = {formatted(a, 'g')}" for a in alphas]
    rows: list[list[object]] = []
    for predictor, test in report.scores["test"].items():
        validation = report.scores["validation"][predictor]
        name = ("▸ " if predictor == report.best else "") + predictor.words
        rows.append([name, *(validation[a].domains_mean for a in alphas), *_on_test(test, alphas)])
    rows.append(["measured on validation text", *(None for _ in alphas), *_on_test(report.repeated, alphas)])
    caption = (
        f"Spearman over {len(report.domains)} domains, mean over {len(report.parts)} parts; ▸ best on "
        "validation text"
    )
    return Table.of("Predicted against measured damage", columns, rows, caption)


def _on_test(scores: Mapping[float, Score], alphas: Sequence[float]) -> list[float | None]:
    return [scores[a].domains_mean for a in alphas] + [scores[a].pooled for a in alphas]
