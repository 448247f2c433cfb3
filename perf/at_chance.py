"""What it costs to bring German to chance by one number: each part at the smallest scale that does it, and raw coordinates.

    python -m perf.at_chance --unseen DIR --out perf/results/at-chance.json
    python -m perf.at_chance --unseen DIR --edits EDIT …    # and saved edits, such as those of `tune --train`

α is the first, in steps of 3% of α − 1, that takes German test text to .98 of chance; the rise of every other domain is
measured there, on built-in test text and on whole sources of DIR in no mixture of `mini` (fits.py). Nothing is
fitted: the parts are named, the decomposition's picks in MLP and attention, sharpened too, and the neuron and channel of
their numbers. A saved edit's size, as a share of what was saved, is found in the same steps. In fp32.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perf.environment import environment
from perf.fits import FORGET, PARTS, STEP, Bench, opened

from rankone.core.artifact import refuse_existing, write_json
from rankone.edits.fitting.aim import CHANCE_SHARE
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.coordinate import coordinate_of
from rankone.edits.methods.kind import Target
from rankone.edits.scales import scale_edit
from rankone.metrics.cross_entropy import cross_entropy

SMALLEST, FARTHEST = 0.1, 100.0


Turned = Callable[[float], LowRankEdit]
"""An edit by its size: of a part 1 − α."""


def at_chance(bench: Bench, turned: Turned, split: str = "test") -> dict[str, Any] | None:
    """The smallest size that takes German text of a split to chance, and what rises there; None where none does.

    German rises with the size as far as that; the size is halved in, on a grid of steps of 3%.
    """
    low, high = (round(math.log(end) / math.log(STEP)) for end in (SMALLEST, FARTHEST))
    if not _removed(bench, turned, split, high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _removed(bench, turned, split, middle) else (middle, high)
    size = STEP**high
    changed = bench.changed_by(turned(size))
    return {"size": size, "sets": {name: _said(rows) for name, rows in changed.items()}}


def _removed(bench: Bench, turned: Turned, split: str, steps: int) -> bool:
    model = bench.workspace.model
    with turned(STEP**steps).applied(model):
        entropy = cross_entropy(model, bench.text[split][FORGET])
    return entropy >= CHANCE_SHARE * bench.workspace.chance


def _said(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    others = {d: r["rise"] for d, r in rows.items() if d != FORGET}
    worst = max(others, key=lambda d: others[d])
    return {"german": rows[FORGET]["ce"], "worst": others[worst], "domain": worst, "rises": others}


def named(bench: Bench, parts: Sequence[str]) -> list[str]:
    """The parts, sharpened where they were, and the raw coordinates of their numbers."""
    raw = [coordinate_of(Target(bench.workspace.model, bench.book, part)) for part in parts]
    return [*parts, *(f"sharpened-{FORGET}/{part}" for part in parts), *raw]


def scaled(bench: Bench, part: str) -> Turned:
    """A part, or the parts of a pair, by 1 − α."""
    return lambda size: scale_edit(bench.book, dict.fromkeys(bench.pair.get(part, [part]), 1 - size))


def part_at_chance(bench: Bench, part: str, split: str = "test") -> dict[str, Any] | None:
    """The same of a part, with its α."""
    row = at_chance(bench, scaled(bench, part), split)
    return row and {"part": part, "alpha": 1 - row["size"], "sets": row["sets"]}


def edit_at_chance(bench: Bench, folder: Path) -> dict[str, Any] | None:
    """The same of a saved edit, with the share of what was saved."""
    row = at_chance(bench, saved(bench, folder))
    return row and {"edit": folder.name, "share": row["size"], "sets": row["sets"]}


def saved(bench: Bench, folder: Path) -> Turned:
    """A saved edit of this model by its share of what was saved."""
    edit = LowRankEdit.from_pretrained(folder)
    edit.check_base(bench.workspace.model)
    return edit.scale


def _line(row: Mapping[str, Any]) -> str:
    (_, name), (of, size), *_ = row.items()
    if size is None:
        return f"{name:40} does not get there"
    sets = "  ".join(f"{n} {s['worst']:+.4f} ({s['domain']})" for n, s in row["sets"].items())
    return f"{name:40} {'α' if of == 'alpha' else '×'} {size:+7.2f}  {sets}"


def main() -> None:
    """Measure, print a line a part or edit, and write the JSON where one is asked for."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument(
        "--unseen", type=Path, help="folder with the sources of fits.UNSEEN; built-in text alone without"
    )
    ask.add_argument("--out", type=Path, help="write the JSON here too; must not exist")
    ask.add_argument(
        "--tokens", type=int, default=4000, help="test tokens per domain; of unseen text per source"
    )
    ask.add_argument("--edits", type=Path, nargs="+", default=[], help="folders of saved edits of `mini`")
    asked = ask.parse_args()
    if asked.out is not None:
        refuse_existing(asked.out)
    clock = time.monotonic()
    bench = opened(asked.unseen, asked.tokens, ["test"], paired=False)
    rows = []
    for part in named(bench, PARTS):
        rows.append(part_at_chance(bench, part) or {"part": part, "alpha": None})
        print(_line(rows[-1]), flush=True)
    for folder in asked.edits:
        rows.append(edit_at_chance(bench, folder) or {"edit": folder.name, "share": None})
        print(_line(rows[-1]), flush=True)
    if asked.out is not None:
        about = {"tokens": asked.tokens, "chance_share": CHANCE_SHARE, "rows": rows}
        about |= {"environment": environment(), "seconds": time.monotonic() - clock}
        write_json(asked.out, about)


if __name__ == "__main__":
    main()
