"""What deleting parts alone does (α = 0, no forget token): sets chosen greedily, measured on built-in test text.

    python -m perf.deletion --out perf/results/deletion.json

Two pools: the subcomponents of the shipped decomposition, and these with the discriminants of every site (closed forms of
second moments of training text). Slopes on training text, trade-offs and tolerance on validation text, rows on test text.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perf.environment import environment

from rankone.core.artifact import refuse_existing, write_json
from rankone.decomposition.model import load_decomposition
from rankone.edits.finding.deleting import Deletion, deletion
from rankone.edits.fitting.text.retain_text import default_retain
from rankone.metrics.cross_entropy import text_losses
from rankone.metrics.damage import damages
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.sites import find_sites
from rankone.models.sources.names import ASSETS
from rankone.parts.moments import collect_moments, combined
from rankone.parts.parts import Parts
from rankone.parts.sources import make_parts
from rankone.text.blocks import Blocks
from rankone.text.sources.builtin import BuiltinCorpus
from rankone.workspace import Workspace

OF = "de"
OFF_TARGET = ("nl", "sv")
MOMENT_TOKENS, RIDGE, PER_SITE = 8000, 0.05, 6


@dataclass
class Bench:
    """The workspace and its text."""

    workspace: Workspace
    training: dict[str, Blocks]
    validation: dict[str, Blocks]
    test: dict[str, Blocks]

    def row(self, found: Deletion) -> dict[str, Any]:
        """What a set does to test text."""
        model = self.workspace.model
        base = text_losses(model, self.test)
        with found.edit.applied(model):
            changes = damages(base, text_losses(model, self.test))
        return {
            "parts": len(found.names),
            "validation": found.rises,
            "test": {d: {"rise": c.rise, "error": c.error} for d, c in changes.items()},
        }


def opened(options: argparse.Namespace) -> Bench:
    """mini, its decomposition, and text of the trained domains; test text of two more."""
    model = load_model("mini")
    decomposition, _ = load_decomposition(ASSETS / "mini-decomposition", model)
    space = Workspace(model, load_tokenizer("mini"), BuiltinCorpus(), decomposition)
    domains = (OF, *default_retain(space, OF))
    return Bench(
        space,
        space.text(domains, "train", options.slope_tokens),
        space.text(domains, "validation", options.validation_tokens),
        space.text((*domains, *OFF_TARGET), "test", options.test_tokens),
    )


def discriminants(bench: Bench) -> Parts:
    """The first discriminants of every site."""
    space, sites = bench.workspace, find_sites(bench.workspace.model, None)
    text = {d: space.blocks(d, "train", MOMENT_TOKENS) for d in bench.training}
    moments = {d: collect_moments(space.model, sites, b.ids, b.present, "input") for d, b in text.items()}
    others = combined([m for d, m in moments.items() if d != OF], [1.0] * (len(moments) - 1))
    return make_parts("discriminant", sites, OF, moments[OF], others, count=PER_SITE, ridge=RIDGE)


def searched(bench: Bench, sets: list[Parts], options: argparse.Namespace) -> Deletion:
    """The set of one pool, until nothing is gained or the time is over."""
    start = time.monotonic()

    def going(found: Deletion) -> bool:
        spent = time.monotonic() - start
        worst = max(rise for d, rise in found.rises.items() if d != OF)
        print(
            f"{spent:5.0f} s  {len(found.names)} parts  {OF} {found.rises[OF]:+.2f}  {worst:+.4f}", flush=True
        )
        return spent < options.minutes * 60

    text: tuple[Mapping[str, Blocks], Mapping[str, Blocks]] = (bench.training, bench.validation)
    return deletion(bench.workspace.model, sets, OF, *text, options.tolerance, going=going)


def main() -> None:
    """Search, measure, write."""
    options = argparse.ArgumentParser()
    options.add_argument(
        "--tolerance", type=float, default=0.015, help="of each other domain, validation text"
    )
    options.add_argument("--slope-tokens", type=int, default=800)
    options.add_argument("--validation-tokens", type=int, default=800)
    options.add_argument("--test-tokens", type=int, default=2000)
    options.add_argument("--minutes", type=float, default=10, help="of each search, on the clock")
    options.add_argument("--pools", nargs="+", default=["decomposition", "discriminants too"])
    options.add_argument("--out", type=Path, default=Path("perf/results/deletion.json"))
    given = options.parse_args()
    refuse_existing(given.out)
    before, bench = environment(), opened(given)
    pools = {"decomposition": [bench.workspace.require_parts()]}
    pools["discriminants too"] = [*pools["decomposition"], discriminants(bench)]
    rows, names = {}, {}
    for pool in given.pools:
        found = searched(bench, pools[pool], given)
        rows[pool], names[pool] = bench.row(found), list(found.names)
        print(pool, rows[pool], flush=True)
    asked = {k: v for k, v in vars(given).items() if k != "out"}
    write_json(given.out, {"environment": before, "asked": asked, "rows": rows, "parts": names})


if __name__ == "__main__":
    main()
