"""What it costs to bring German to chance by one number: each part at the smallest scale that does it, and raw coordinates.

    python perf/at_chance.py --unseen DIR --out perf/results/at-chance.json

α is the first, in steps of 3% of α − 1, that takes German test text to .98 of chance; the rise of every other domain is
measured there, on built-in test text and on whole sources of DIR in no mixture of `mini` (fits.py). Nothing is
fitted: the parts are named, the decomposition's picks in MLP and attention, sharpened too, and the neuron and channel of
their numbers. In fp32.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from environment import environment
from fits import FORGET, PARTS, STEP, Bench, opened
from rankone.core.artifact import refuse_existing, write_json
from rankone.edits.fitting.aim import CHANCE_SHARE
from rankone.edits.methods.coordinate import coordinate_of
from rankone.edits.methods.kind import Target
from rankone.edits.scales import scale_edit
from rankone.metrics.cross_entropy import cross_entropy

FARTHEST = 100.0


def at_chance(bench: Bench, part: str, split: str = "test") -> dict[str, Any] | None:
    """The smallest scale below 1 that takes German text of a split to chance, and what rises there; None where none does.

    German rises with the size as far as that; the size is halved in, on the grid of `Bench.changes`.
    """
    low, high = 0, round(math.log(FARTHEST) / math.log(STEP))
    if not _removed(bench, part, split, high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _removed(bench, part, split, middle) else (middle, high)
    found = bench.changes(part, 1 - STEP**high)
    return {
        "part": part,
        "alpha": 1 - STEP**high,
        "sets": {name: _said(rows) for name, rows in found.items()},
    }


def _removed(bench: Bench, part: str, split: str, steps: int) -> bool:
    model = bench.workspace.model
    turned = dict.fromkeys(bench.pair.get(part, [part]), 1 - STEP**steps)
    with scale_edit(bench.book, turned).applied(model):
        entropy = cross_entropy(model, bench.text[split][FORGET])
    return entropy >= CHANCE_SHARE * bench.workspace.chance


def _said(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    others = {d: r["rise"] for d, r in rows.items() if d != FORGET}
    worst = max(others, key=lambda d: others[d])
    return {"german": rows[FORGET]["ce"], "worst": others[worst], "domain": worst, "rises": others}


def named(bench: Bench, parts: Sequence[str]) -> list[str]:
    """The parts, sharpened where they were, and the raw coordinates of their numbers."""
    raw = [coordinate_of(Target(bench.workspace.model, bench.book, part)) for part in parts]
    return [*parts, *(f"sharpened/{part}" for part in parts), *raw]


def main() -> None:
    """Measure, print a line a part, and write the JSON where one is asked for."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument(
        "--unseen", type=Path, help="folder with the sources of fits.UNSEEN; built-in text alone without"
    )
    ask.add_argument("--out", type=Path, help="write the JSON here too; must not exist")
    ask.add_argument(
        "--tokens", type=int, default=4000, help="test tokens per domain; of unseen text per source"
    )
    asked = ask.parse_args()
    if asked.out is not None:
        refuse_existing(asked.out)
    clock = time.monotonic()
    bench = opened(asked.unseen, asked.tokens, ["test"], paired=False)
    rows = []
    for part in named(bench, PARTS):
        row = at_chance(bench, part)
        rows.append(row or {"part": part, "alpha": None})
        if row is None:
            print(f"{part:40} does not get there")
            continue
        sets = "  ".join(f"{n} {s['worst']:+.4f} ({s['domain']})" for n, s in row["sets"].items())
        print(f"{part:40} α {row['alpha']:+7.2f}  {sets}")
    if asked.out is not None:
        about = {"tokens": asked.tokens, "chance_share": CHANCE_SHARE, "rows": rows}
        about |= {"environment": environment(), "seconds": time.monotonic() - clock}
        write_json(asked.out, about)


if __name__ == "__main__":
    main()
