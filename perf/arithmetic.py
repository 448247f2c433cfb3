"""Whether the verdicts of a benchmark depend on the numbers its fits compute in: float32 beside bfloat16 autocast.

    python -m perf.arithmetic RUNS [--recipe german] [--preset quick]      # runs it twice, goes on in RUNS
    python -m perf.arithmetic                                                           # the table, into docs/bench.md

The same recipe on the same text, once as it stands and once with `fit.autocast: true`; edits are brought to their size and
measured in float32 both times. Kept (results/arithmetic.json): every verdict of both, and of every method and budget how
many seeds succeed and how far each domain rises.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from perf.environment import environment
from perf.languages import count_said, row_said
from perf.pages import markdown, write_table

from rankone.core.files import write_json
from rankone.experiments.bench.page import write_results
from rankone.experiments.bench.rollouts import rollouts
from rankone.experiments.bench.run import run_bench
from rankone.experiments.config import BenchConfig, read_recipe
from rankone.experiments.names import method_name
from rankone.recipes import recipe_file

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "perf" / "results" / "arithmetic.json"
PAGE = ROOT / "docs" / "bench.md"
PATHS = {"float32": False, "bfloat16 autocast": True}


def ran(config: BenchConfig, out: Path) -> dict[str, Any]:
    """A benchmark in a folder: verdicts of its first retain set, and what each method did at each budget."""
    clock = time.process_time()
    record, outcomes, workspace = run_bench(config, out)
    verdicts = write_results(out, record, outcomes, rollouts(workspace, out, record.config))
    rows = [
        {
            key: row[key]
            for key in (
                *("method", "budget", "domain", "role", "seeds"),
                *("successes", "success_low", "success_high", "rise", "low", "high"),
            )
        }
        for row in pq.ParquetFile(out / "summary.parquet").read().to_pylist()
        if row["stage"] == config.first_stage
    ]
    seconds = time.process_time() - clock
    return {"verdicts": [v.plain() for v in verdicts], "rows": rows, "processor_seconds": round(seconds, 1)}


def both(recipe: Path, preset: str, folder: Path) -> dict[str, Any]:
    """The benchmark on both paths."""
    config, found = read_recipe(recipe, preset), dict[str, Any]()
    for path, autocast in PATHS.items():
        fit = config.fit.model_copy(update={"autocast": autocast})
        found[path] = ran(config.model_copy(update={"fit": fit}), folder / path.replace(" ", "-"))
    return {
        "recipe": recipe.name,
        "preset": preset,
        "paths": found,
        "environment": environment(),
    }


def apart(kept: dict[str, Any]) -> list[str]:
    """Claims whose verdicts differ."""
    one, two = (kept["paths"][path]["verdicts"] for path in PATHS)
    return [a["claim"] for a, b in zip(one, two, strict=True) if a["verdict"] != b["verdict"]]


def table(kept: dict[str, Any]) -> str:
    """Verdicts of both paths, then seeds that succeed and rises of the text to forget, in Markdown."""
    paths = [kept["paths"][path] for path in PATHS]
    verdicts = zip(*(path["verdicts"] for path in paths), strict=True)
    judged = markdown(
        ["claim", *PATHS], ([one[0]["claim"], *(v["verdict"] for v in one)] for one in verdicts)
    )
    head = ["method, tokens", *(f"{what}, {path}" for path in PATHS for what in ("seeds", "rise"))]
    forgotten = [[row for row in path["rows"] if row["role"] == "forget"] for path in paths]
    lines: list[list[str]] = []
    for rows in zip(*forgotten, strict=True):
        cells = [cell for row in rows for cell in (count_said(row), row_said(row, 2))]
        lines.append([f"{method_name(rows[0]['method'])}, {rows[0]['budget']}", *cells])
    return "\n\n".join([judged, markdown(head, lines)])


def main() -> None:
    """Run both where a folder is named; then write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="?")
    parser.add_argument("--recipe", type=recipe_file, default="german")
    parser.add_argument("--preset", default="quick")
    asked = parser.parse_args()
    if asked.runs is not None:
        write_json(KEPT, both(asked.recipe, asked.preset, asked.runs))
    kept = json.loads(KEPT.read_text("utf8"))
    write_table(PAGE, "perf.arithmetic", table(kept))
    print("\n".join(apart(kept)) or "every verdict is the same on both paths")


if __name__ == "__main__":
    main()
