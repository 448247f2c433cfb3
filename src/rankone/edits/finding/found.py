"""What `find` answers; importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest
from rankone.core.paths import typed
from rankone.edits.finding.tolerances import Tolerances
from rankone.parts.origins import FROM_WEIGHTS, origin_in
from rankone.render.columns import Column
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.render.values import signed


class FoundPart(Config):
    """One measured part: its best α by the rule, and what that does to validation text (rises in nats per token).

    about: the rise of English about the country. separation, coverage: as in the shortlist. slope: ∂CE/∂α at α = 1 of the
    target, by the gradient. removed: whether the target's cross-entropy is at .98 of chance or more.
    """

    part: str
    source: str
    site: str
    alpha: float
    rise: float
    error: float | None
    others: dict[str, float]
    worst: float
    worst_domain: str
    about: float | None
    removed: bool
    separation: float | None
    coverage: float | None
    slope: float | None


class FoundPair(Config):
    """Two or more parts that move by one number, at the size the rule gives them. steps: α − 1 of each.

    names: of the saved parts that share the number. All else as in `FoundPart`.
    """

    steps: dict[str, float]
    names: tuple[str, ...]
    rise: float
    error: float | None
    others: dict[str, float]
    worst: float
    worst_domain: str
    about: float | None
    removed: bool

    @property
    def scale(self) -> str:
        """What `tune --scale` is given: the names of parts that share one scale."""
        return "+".join(self.names)

    def __str__(self) -> str:
        steps = " and ".join(f"{name}={1 + step:.4g}" for name, step in self.steps.items())
        return f"{steps} (rise {signed(self.rise, 2)}, worst {signed(self.worst)} {self.worst_domain})"


class Found(Reply):
    """The answer: measured parts, the best first, with what they were measured against.

    seconds: wall time per stage. cpu_seconds: processor time of all threads, which says more on a machine that is shared.
    out: where the measured parts were saved, if they were. opened: options of the command line that open the same model.
    """

    of: str
    against: list[str]
    chance: float
    base: dict[str, float]
    sites: list[str]
    tolerance: Tolerances
    parts: list[FoundPart]
    pair: FoundPair | None = None
    seconds: dict[str, float]
    cpu_seconds: float
    out: Path | None = None
    opened: str = ""

    def tables(self) -> Sequence[Table]:
        """One row per part."""
        columns = [
            Column("part", key=True, priority=9),
            Column("α", "+.3g", priority=8),
            Column("rise", "+.2f", priority=8),
            Column("worst", "+.3f", priority=7),
            Column("on", priority=6),
            Column("at chance", priority=5),
            Column("about", "+.2f", priority=4),
            Column("separation", ".3g", priority=3),
            Column("∂CE/∂α", "+.3g", priority=2),
        ]
        rows = [
            [r.part, r.alpha, r.rise, r.worst, r.worst_domain, r.removed, r.about, r.separation, r.slope]
            for r in self.parts
        ]
        caption = (
            f"rise: of {self.of} on validation text, nats per token, at the best α that keeps every other domain within its "
            f"tolerance ({self.tolerance}); worst: the largest of those; about: English about the country. "
            f"Took {sum(self.seconds.values()):.0f} s"
        )
        return (Table.of(f"Parts for {self.of}, by what they do", columns, rows, caption, strong=[0]),)

    def lines(self) -> Sequence[str]:
        """Which source won, whether it does the job, and how to set the number."""
        saved = "" if self.out is None else f" --parts {typed(self.out)}"
        return (
            f"best source: {self.winner}",
            *(() if any(part.removed for part in self.parts) else (self._none_removes(),)),
            self._to_set(saved),
            *(() if self.pair is None else self._of_pair(self.pair, saved)),
        )

    def _none_removes(self) -> str:
        return (
            f"no single part takes {self.of} to chance within the tolerances; more text (--tokens, --rank-tokens) may find "
            "another"
        )

    def _to_set(self, saved: str) -> str:
        """The command; a part that follows neither from the decomposition nor from the weights has to be saved."""
        if not saved and origin_in(self.pick.part) not in ("", *FROM_WEIGHTS):
            return "to set its number, save the parts: --out DIR"
        return (
            f"to set it: rankone edit {self.pick.part}={self.pick.alpha:.4g}{self._opened}{saved} --out DIR"
        )

    @property
    def _opened(self) -> str:
        """The options that open the same model, as they follow in a command."""
        return f" {self.opened}" if self.opened else ""

    def _of_pair(self, pair: FoundPair, saved: str) -> Sequence[str]:
        steps = f"{len(pair.steps)} parts by one number: {pair}"
        if not saved:
            return (steps, "to size them, save them: --out DIR")
        return (
            steps,
            f"to size them: rankone tune --scale {pair.scale}{self._opened}{saved} --forget {self.of}",
        )

    @property
    def pick(self) -> FoundPart:
        """The best part."""
        return self.parts[0]

    @property
    def winner(self) -> str:
        """The source of the best part."""
        return self.pick.source

    @property
    def chosen_pair(self) -> FoundPair | None:
        """The pair, where it does more than the best part alone."""
        return self.pair if self.pair is not None and self.pair.rise > self.pick.rise else None

    @property
    def turned(self) -> str:
        """What is to be turned: the best part, or the pair that does more."""
        return self.pick.part if self.chosen_pair is None else " + ".join(self.chosen_pair.steps)

    def best_of_each_source(self) -> list[FoundPart]:
        """The best part of every source, the best first: each a control of the same number of parameters for the others."""
        best: dict[str, FoundPart] = {}
        for part in self.parts:
            best.setdefault(part.source, part)
        return list(best.values())

    def named(self, part: str) -> FoundPart:
        """The row of a part; RankOneError where it was not measured."""
        for row in self.parts:
            if row.part == part:
                return row
        raise RankOneError(f"'{part}' was not measured.{nearest(part, [row.part for row in self.parts])}")
