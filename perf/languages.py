"""One scalar beside its equal-parameter controls for several targets: docs/bench.md's table, from saved result tables.

    python -m perf.languages --keep runs/german-controls runs/french-controls …   # what `bench` made → results/languages/
    python -m perf.languages                                                      # the table, into docs/bench.md

Kept of each benchmark: its `summary.parquet` (means over seeds with their intervals) and which part was picked. The table
has the target's rise at matched removal (every edit brought to the size that retained text allows), at the largest budget,
and of which controls the 95% interval over seeds and passages lies above or below the scalar's. Where they overlap no order
is said.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from perf.pages import write_table

from rankone.core.files import write_json
from rankone.render.values import spanned
from rankone.text.domains import domain_name, written_in

KEPT = Path(__file__).parent / "results" / "languages"
PAGE = Path(__file__).parents[1] / "docs" / "bench.md"
METHODS = {
    "scalar": "the pick",
    "neuron": "its raw neuron or channel",
    "best_neuron": "best neuron",
    "best_channel": "best channel",
    "contrast": "contrast",
    "discriminant": "discriminant",
    "random": "random",
}
Row = dict[str, Any]


def keep(folders: Sequence[Path]) -> None:
    """Copy the summaries of some benchmarks here."""
    for folder in folders:
        record = json.loads((folder / "bench.json").read_text("utf8"))
        config = record["config"]
        out = KEPT / "-not-".join([config["forget"], *_forms(config["forget"], config)])
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "summary.parquet", out / "summary.parquet")
        kept = ("budgets", "seeds", "weights", "retain", "fit", "tolerance", "test_tokens")
        said = {"forget": config["forget"], "part": record["part"], "label": record["label"]}
        said["aim"] = record["aim"]
        said["config"] = {key: config[key] for key in kept}
        said |= {key: record["provenance"].get(key) for key in ("versions", "git_revision")}
        write_json(out / "about.json", said)


def _forms(forget: str, config: Row) -> list[str]:
    """Retained domains that are in the language of what is removed, in lower case or as it is printed."""
    (retain,) = config["retain"].values()
    return [domain for domain in retain if written_in(domain) == written_in(forget)]


def rows_of(folder: Path) -> dict[str, Row]:
    """The target's row of every method at matched removal, and under `worst` the largest rise of another trained domain."""
    about = json.loads((folder / "about.json").read_text("utf8"))
    budget = max(about["config"]["budgets"])
    (retain,) = about["config"]["retain"].values()
    found: dict[str, Row] = {}
    rows = [r for r in pq.ParquetFile(folder / "summary.parquet").read().to_pylist() if r["budget"] == budget]
    for row in (r for r in rows if r["stage"] == "sized" and r["role"] == "forget"):
        others = [
            r
            for r in rows
            if r["method"] == row["method"] and r["stage"] == "sized" and r["domain"] in retain
        ]
        found[row["method"]] = {**row, "worst": max(others, key=lambda r: r["rise"])}
    return found


def order(rows: dict[str, Row]) -> str:
    """Which controls lie above and below the scalar, where the intervals part."""
    own = rows["scalar"]
    controls = [m for m in METHODS if m != "scalar" and m in rows]
    above = [METHODS[m] for m in controls if rows[m]["low"] > own["high"]]
    below = [METHODS[m] for m in controls if rows[m]["high"] < own["low"]]
    level = [METHODS[m] for m in controls if METHODS[m] not in (*above, *below)]
    named = (("above it", above), ("below it", below), ("not parted", level))
    return "; ".join(f"{where}: {', '.join(names)}" for where, names in named if names)


def table() -> str:
    """The table in Markdown, a row a target."""
    head = ["removed (part)", "to chance", *METHODS.values(), "most elsewhere", "where 95% intervals part"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for folder in sorted(path for path in KEPT.iterdir() if path.is_dir()):
        about = json.loads((folder / "about.json").read_text("utf8"))
        rows = rows_of(folder)
        own = rows["scalar"]
        room = about["aim"]["chance"] - (own["ce"] - own["rise"])
        cells = [_cell(rows.get(method)) for method in METHODS]
        worst = max((rows[method]["worst"] for method in METHODS if method in rows), key=lambda r: r["rise"])
        most = f"{domain_name(worst['domain'])} {_spanned(worst, 3)}, {METHODS[worst['method']]}"
        target = ", not ".join(map(domain_name, [about["forget"], *_forms(about["forget"], about["config"])]))
        name = f"{target} (`{about['part']}`)"
        lines.append("| " + " | ".join([name, f"{room:+.2f}", *cells, most, order(rows)]) + " |")
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    return "" if row is None else _spanned(row, 2)


def _spanned(row: Row, digits: int) -> str:
    return spanned(row["rise"], row["low"], row["high"], digits)


def main() -> None:
    """Keep benchmarks that are named; then write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path, nargs="*", default=[])
    keep(parser.parse_args().keep)
    write_table(PAGE, "perf.languages", table())


if __name__ == "__main__":
    main()
