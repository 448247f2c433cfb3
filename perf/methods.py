"""Every method at one budget, and how much test text its figures take: tables of docs/bench.md from what `bench` made.

    python -m perf.methods --keep runs/methods    # of `bench german --preset methods` → results/methods/
    python -m perf.methods                        # the tables, into docs/bench.md

Kept: `summary.parquet` (means over seeds with their intervals) and which part was picked. An order is said only where the
95% intervals over seeds and passages do not overlap. A standard error is over passages of the test text, of a mean over
seeds: half of the 95% interval over passages, by 1.96. It shrinks with the root of the tokens, which says how many .01 nats
take.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from perf.languages import count_said, keep_result, order, row_said, rows_of, stages_of
from perf.pages import markdown, write_table

from rankone.experiments.names import method_name, method_order
from rankone.experiments.tables import DAMAGE_BAR
from rankone.metrics.wilson import Z
from rankone.render.values import signed
from rankone.text.domains import domain_name

KEPT = Path(__file__).parent / "results" / "methods"
PAGE = Path(__file__).parents[1] / "docs" / "bench.md"
BAR = 0.01
Row = dict[str, Any]


def methods_table(folder: Path) -> str:
    """A row a method: seeds that succeed, rise of the target and the most of another trained domain, at every stage."""
    stages = stages_of(folder)
    rows = {stage: rows_of(folder, stage) for stage in stages}
    ran = method_order(list(dict.fromkeys(method for at in rows.values() for method in at)))
    said = ("seeds that succeed", "rise", "most elsewhere")
    head = ["method", *(f"{what}, {stage}" for stage in stages.values() for what in said)]
    cells = {m: [cell for stage in stages for cell in _cells(rows[stage].get(m))] for m in ran}
    of_methods = markdown(head, ([f"`{m}`: {method_name(m)}", *cells[m]] for m in ran))
    names = {method: f"`{method}`" for method in ran}
    beside = [
        f"Rise {words}, beside that of `scalar`: {order(rows[stage], names)}."
        for stage, words in stages.items()
    ]
    own = rows["sized"]["scalar"]
    room = json.loads((folder / "about.json").read_text("utf8"))["aim"]["chance"] - (own["ce"] - own["rise"])
    return "\n\n".join([of_methods, f"To chance: {signed(room, 2)}.", *beside])


def _cells(row: Row | None) -> tuple[str, str, str]:
    if row is None:
        return "", "", ""
    worst = row["worst"]
    return count_said(row), row_said(row, 2), f"{domain_name(worst['domain'])} {row_said(worst, 3)}"


def errors_table(folder: Path) -> str:
    """A row a domain: the largest standard errors, and the tokens that .01 would take."""
    about = json.loads((folder / "about.json").read_text("utf8"))
    tokens, summary = (
        about["config"]["test_tokens"],
        pq.ParquetFile(folder / "summary.parquet").read().to_pylist(),
    )
    small = f"as fitted, rises under {DAMAGE_BAR:g}"
    chosen: dict[str, Callable[[Row], bool]] = {
        "sized by the rule": lambda row: row["stage"] == "sized",
        small: lambda row: row["stage"] == "fitted" and row["rise"] < DAMAGE_BAR,
        "as fitted, all": lambda row: row["stage"] == "fitted",
    }
    head = [
        "domain",
        *(f"{what}, {which}" for which in chosen for what in ("largest standard error", "tokens for .01")),
    ]
    lines: list[list[str]] = []
    for domain in dict.fromkeys(row["domain"] for row in summary):
        rows = [row for row in summary if row["domain"] == domain and row["passages_low"] is not None]
        cells = [cell for one in chosen.values() for cell in _error_cells(list(filter(one, rows)), tokens)]
        lines.append([domain_name(domain), *cells])
    return markdown(head, lines)


def _error_cells(rows: Sequence[Row], tokens: int) -> tuple[str, str]:
    if not rows:
        return "", ""
    worst = max(rows, key=_error)
    said = f"{_error(worst):.3f} (`{worst['method']}`, {signed(worst['rise'], 2)})"
    return said, f"{tokens * (_error(worst) / BAR) ** 2:,.0f}"


def _error(row: Row) -> float:
    return (row["passages_high"] - row["passages_low"]) / (2 * Z)


def main() -> None:
    """Keep a benchmark that is named; then write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path)
    if (folder := parser.parse_args().keep) is not None:
        keep_result(folder, KEPT)
    write_table(PAGE, "perf.methods", methods_table(KEPT))
    write_table(PAGE, "perf.methods errors", errors_table(KEPT))


if __name__ == "__main__":
    main()
