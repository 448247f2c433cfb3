"""How good is a pick by labels and specificity? Each pick beside the other candidates, all measured on validation text.

The trade-off of a subcomponent for a target domain is the largest rise of the target's cross-entropy over a grid of scales
at which every other domain rises by less than a tolerance (α = 1, no change, always counts: never below 0). The grid must
reach far: a subcomponent that spares all else does little at a small scale and most at a large one, and a fit goes there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from rankone.core.artifact import environment, refuse_existing, write_json
from rankone.core.config import Config
from rankone.edits.selection import pick_labelled
from rankone.experiments.response import scale_response
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.store import Labels
from rankone.metrics.cross_entropy import cross_entropies
from rankone.render.columns import Column
from rankone.render.tables import Table
from rankone.runtime.progress import meter
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace


class PicksConfig(Config):
    """What is compared: target domains, candidates per target, scales, validation tokens per domain, tolerance (nats)."""

    targets: tuple[str, ...] = Field(default=("de", "fr", "es", "it", "code"), min_length=1)
    candidates: int = Field(default=20, gt=0)
    alphas: tuple[float, ...] = Field(default=(-24.0, -12.0, -6.0, -3.0, 0.0, 3.0, 6.0), min_length=1)
    tokens: int = Field(default=400, gt=0)
    tolerance: float = Field(default=0.05, gt=0)


@dataclass(frozen=True)
class TradeOff:
    """The best scale of one subcomponent for one target: rise of the target and the largest other rise, nats."""

    component: str
    alpha: float
    rise: float
    worst: float
    worst_domain: str


@dataclass(frozen=True)
class TargetPick:
    """One target: the candidates best first, the pick, and its place among them (1 is the best; ties share the better)."""

    target: str
    pick: str
    label: str
    candidates: list[TradeOff]

    @property
    def own(self) -> TradeOff:
        """The trade-off of the pick."""
        return next(c for c in self.candidates if c.component == self.pick)

    @property
    def place(self) -> int:
        """1 + the number of candidates with a larger rise."""
        return 1 + sum(c.rise > self.own.rise for c in self.candidates)


def trade_off(component: str, rows: Sequence[Mapping[str, Any]], target: str, tolerance: float) -> TradeOff:
    """The best scale among the rows (alpha, domain, rise) of one subcomponent."""
    best = TradeOff(component, 1.0, 0.0, 0.0, "")
    for alpha in dict.fromkeys(row["alpha"] for row in rows):
        rises = {row["domain"]: row["rise"] for row in rows if row["alpha"] == alpha}
        own = rises.pop(target)
        worst, domain = max(((r, d) for d, r in rises.items()), default=(-math.inf, ""))
        if worst < tolerance and own > best.rise:
            best = TradeOff(component, alpha, own, worst, domain)
    return best


def compare_picks(
    workspace: Workspace,
    store: HarvestStore,
    labels: Labels,
    config: PicksConfig,
) -> list[TargetPick]:
    """Pick for every target, then measure all candidates on every domain of the harvest."""
    importances = store.importances()
    for target in config.targets:
        importances.of(target)
    activations = store.activations()
    chosen = {
        t: pick_labelled(importances, activations, labels, t, config.candidates) for t in config.targets
    }
    text = workspace.text(store.domains(), "validation", config.tokens)
    names = list(dict.fromkeys(c.name for _, candidates in chosen.values() for c in candidates))
    members = {name: store.members(name) for name in names}
    measured = _measure(workspace, members, config.alphas, text)
    return [
        TargetPick(
            target,
            pick.name,
            labels.best(pick.name).label,
            sorted(
                (trade_off(c.name, measured[c.name], target, config.tolerance) for c in candidates),
                key=lambda found: -found.rise,
            ),
        )
        for target, (pick, candidates) in chosen.items()
    ]


def _measure(
    workspace: Workspace,
    members: Mapping[str, Sequence[str]],
    alphas: Sequence[float],
    text: Mapping[str, Blocks],
) -> dict[str, list[dict[str, Any]]]:
    base = cross_entropies(workspace.model, text)
    with meter("measure candidates", len(members) * len(alphas)) as bar:
        return {
            name: scale_response(workspace, own, alphas, text, base, bar) for name, own in members.items()
        }


def picks_table(found: Sequence[TargetPick], config: PicksConfig) -> Table:
    """One row per target, and how often the pick is the best."""
    rows = []
    for pick in found:
        own, best = pick.own, pick.candidates[0]
        rows.append(
            [
                pick.label,
                pick.target,
                pick.pick,
                own.alpha,
                own.rise,
                own.worst,
                pick.place,
                best.component,
                best.rise,
            ]
        )
    columns = [
        Column("label"),
        Column("target", key=True),
        "pick",
        Column("α", "g"),
        "rise",
        "worst other",
        "place",
        "best",
        "its rise",
    ]
    count = sum(pick.place == 1 for pick in found)
    caption = (
        f"{count} of {len(found)} picks are the best of their {config.candidates} most specific candidates; rise of CE on "
        f"validation text, nats per token, at the best α of {', '.join(f'{a:g}' for a in config.alphas)} with every other "
        f"domain's rise under {config.tolerance:g}"
    )
    return Table.of("Picked by label and specificity", columns, rows, caption)


def write_picks(out: Path, found: Sequence[TargetPick], config: PicksConfig) -> None:
    """Save all trade-offs as JSON; `out` must not exist."""
    refuse_existing(out)
    write_json(out, {"config": config.model_dump(mode="json"), **as_json(found), "provenance": environment()})


def as_json(found: Sequence[TargetPick]) -> dict[str, Any]:
    """Plain values of all targets and candidates."""
    return {
        "best": sum(pick.place == 1 for pick in found),
        "targets": {
            pick.target: {
                "pick": pick.pick,
                "label": pick.label,
                "place": pick.place,
                "candidates": [vars(c) for c in pick.candidates],
            }
            for pick in found
        },
    }
