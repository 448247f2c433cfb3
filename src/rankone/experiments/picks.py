"""How good is a pick by labels and specificity? Each pick beside the other candidates, all measured on validation text.

The trade-off of a subcomponent for a target domain is the largest rise of the target's cross-entropy over a grid of scales
at which every other domain rises by less than a tolerance (α = 1, no change, always counts: never below 0). The grid must
reach far: a subcomponent that spares all else does little at a small scale and most at a large one, and a fit goes there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rankone.core.artifact import environment, refuse_existing, write_json
from rankone.edits.selection import labelled_candidates
from rankone.experiments.requests import PicksRequest
from rankone.experiments.response import AlphaRise, scale_response
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.store import Labels
from rankone.metrics.cross_entropy import cross_entropies
from rankone.render.columns import Column
from rankone.render.tables import Table
from rankone.runtime.progress import meter
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace


@dataclass(frozen=True)
class TradeOff:
    """The best scale of one part for one target: rise of the target and the largest other rise, nats."""

    part: str
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
    def picked(self) -> TradeOff:
        """The trade-off of the pick."""
        return next(c for c in self.candidates if c.part == self.pick)

    @property
    def place(self) -> int:
        """1 + the number of candidates with a larger rise."""
        return 1 + sum(c.rise > self.picked.rise for c in self.candidates)


def trade_off(part: str, rows: Sequence[AlphaRise], target: str, tolerance: float) -> TradeOff:
    """The best scale among the rows of one part."""
    best = TradeOff(part, 1.0, 0.0, 0.0, "")
    for alpha in dict.fromkeys(row["alpha"] for row in rows):
        rises = {row["domain"]: row["rise"] for row in rows if row["alpha"] == alpha}
        rise = rises.pop(target)
        worst, domain = max(((r, d) for d, r in rises.items()), default=(-math.inf, ""))
        if worst < tolerance and rise > best.rise:
            best = TradeOff(part, alpha, rise, worst, domain)
    return best


def compare_picks(
    workspace: Workspace,
    store: HarvestStore,
    labels: Labels,
    config: PicksRequest,
) -> list[TargetPick]:
    """Pick for every target, then measure all candidates on every domain of the harvest."""
    importances = store.importances()
    for target in config.targets:
        importances.of(target)
    activations = store.activations()
    chosen = {
        t: labelled_candidates(importances, activations, labels, t, config.candidates) for t in config.targets
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
                key=lambda best: -best.rise,
            ),
        )
        for target, ((pick, *_), candidates) in chosen.items()
    ]


def _measure(
    workspace: Workspace,
    members: Mapping[str, Sequence[str]],
    alphas: Sequence[float],
    text: Mapping[str, Blocks],
) -> dict[str, list[AlphaRise]]:
    base = cross_entropies(workspace.model, text)
    with meter("measure candidates", len(members) * len(alphas)) as bar:
        return {
            name: scale_response(workspace, turned, alphas, text, base, bar)
            for name, turned in members.items()
        }


def picks_table(picks: Sequence[TargetPick], config: PicksRequest) -> Table:
    """One row per target, and how often the pick is the best."""
    rows = []
    for pick in picks:
        picked, best = pick.picked, pick.candidates[0]
        rows.append(
            [
                pick.label,
                pick.target,
                pick.pick,
                picked.alpha,
                picked.rise,
                picked.worst,
                pick.place,
                best.part,
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
    count = sum(pick.place == 1 for pick in picks)
    caption = (
        f"{count} of {len(picks)} picks are the best of their {config.candidates} most specific candidates; rise of CE on "
        f"validation text, nats per token, at the best α of {', '.join(f'{a:g}' for a in config.alphas)} with every other "
        f"domain's rise under {config.tolerance:g}"
    )
    return Table.of("Picked by label and specificity", columns, rows, caption)


def write_picks(out: Path, picks: Sequence[TargetPick], request: PicksRequest) -> None:
    """Save all trade-offs as JSON; `out` must not exist."""
    refuse_existing(out)
    targets = {pick.target: {"place": pick.place, **asdict(pick)} for pick in picks}
    best = sum(pick.place == 1 for pick in picks)
    config = request.model_dump(mode="json", exclude={"out"})
    write_json(
        out, {"config": config, "best": best, "targets": targets, "provenance": environment()}, new=True
    )
