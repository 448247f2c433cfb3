"""What a benchmark hands to others: stacks of runs, and all they need to do one of them as it would itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import NamedTuple, Protocol

from rankone.core.config import Record
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.ranking.measured import Tried
from rankone.experiments.bench.cells import Cell, Purpose
from rankone.experiments.bench.ledger import Outcome
from rankone.experiments.config import BenchConfig
from rankone.opening import OpenOptions

SHARES = 4
"""Stacks that the rates of a method are shared out in among workers."""


class Work(Record):
    """A stack of runs of one method and retain set, with their keys."""

    purpose: Purpose
    cells: tuple[Cell, ...]
    keys: tuple[str, ...]

    @property
    def of(self) -> tuple[str, str]:
        """Method and retain set."""
        return self.cells[0].method, self.cells[0].retain


def stacks(
    left: Sequence[tuple[Cell, str]], config: BenchConfig, purpose: Purpose, shared: bool = False
) -> Iterator[Work]:
    """Cells of one method and retain set, of like width together, so that padding costs little, each with its key.

    A grid that is broken off should compare: at the λ that rates are chosen at come all seeds of all methods, small budgets
    before large ones. Of the rest large budgets come first, and a method's rates are `shared` out among workers, so that no
    worker is left with the longest stack at the end.
    """
    first: dict[tuple[str, str], list[tuple[Cell, str]]] = defaultdict(list)
    later: dict[tuple[str, str], list[tuple[Cell, str]]] = defaultdict(list)
    for cell, key in left:
        at_first = purpose == "grid" and cell.retain_weight == config.weight(cell.method, cell.budget)
        (first if at_first else later)[cell.method, cell.retain].append((cell, key))
    in_turn = zip_longest(*(_pieces(alike, config.stack) for alike in first.values()))
    by_method = chain.from_iterable(
        _pieces_of_rest(alike, config.stack, shared and purpose == "tuning") for alike in later.values()
    )
    for piece in filter(None, chain(chain.from_iterable(in_turn), by_method)):
        cells, keys = zip(*piece, strict=True)
        yield Work(purpose=purpose, cells=cells, keys=keys)


def _pieces(alike: Sequence[tuple[Cell, str]], size: int) -> Iterator[Sequence[tuple[Cell, str]]]:
    ordered = sorted(alike, key=lambda item: item[0].budget)
    yield from (ordered[start : start + size] for start in range(0, len(ordered), size))


def _pieces_of_rest(
    alike: Sequence[tuple[Cell, str]], size: int, shared: bool
) -> Sequence[Sequence[tuple[Cell, str]]]:
    size = min(size, -(-len(alike) // SHARES)) if shared else size
    return list(_pieces(alike, size))[::-1]


class Made(NamedTuple):
    """The outcomes of a stack, in its order, and the edit of the run among them that is shown (rollouts.py)."""

    outcomes: list[Outcome]
    edit: LowRankEdit | None = None


class Setup(Record):
    """A benchmark as others open it.

    tried: the candidates of the pick as they were measured, so that all turn the same part. harvest: the folder of what they
    were chosen from; where there is none (on another machine) it is made again. threads: of the processor, for each.
    """

    config: BenchConfig
    options: OpenOptions
    tried: tuple[Tried, ...]
    harvest: Path
    threads: int = 1


class Workers(Protocol):
    """Whoever does stacks of runs; who does which stack changes no result, up to rounding."""

    def results(self, setup: Setup, works: Sequence[Work]) -> Iterator[tuple[Work, Made]]:
        """Every stack with what came of it, as they end. RankOneError where one cannot be done."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...
