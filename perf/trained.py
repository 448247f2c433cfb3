"""What training both directions of a rank-one edit adds, and what its start adds: German on `mini`, one matrix.

    python -m perf.trained --unseen DIR --out perf/results/trained.json

Each start is one scale on a part of `h.3.mlp.down_proj`, sized by the one rule on the same forget text; then its directions
are trained within the tolerance on every retained domain (edits/fitting/within.py). Starts: the pick of the decomposition,
its raw neuron, the closed-form discriminant, a random rank-one direction, and a LoRA of rank 1 from its own start at rates
of which validation text chooses. Every seed takes other forget text and draws other rows. Measured on built-in validation
and test text and on whole sources of DIR that nobody trained on (perf/fits.py names them). In fp32.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perf.environment import environment
from perf.fits import FORGET, PARTS, UNSEEN, Bench, judged, opened, trained_on

from rankone.core.artifact import refuse_existing, write_json
from rankone.edits.finding.find import find_parts
from rankone.edits.finding.request import FindConfig
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.config import DIRECTIONS_RATE, FitConfig
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Fit, Run
from rankone.edits.fitting.sized import fit_sized
from rankone.edits.fitting.text.forget_text import forget_text
from rankone.edits.fitting.text.retain_text import default_retain, retain_text
from rankone.edits.methods.coordinate import coordinate_of
from rankone.edits.methods.directions import Directions
from rankone.edits.methods.kind import Target
from rankone.edits.methods.lora import Lora
from rankone.edits.scales import both_signs

PICK = PARTS[0]
SITE = PICK.rpartition(":")[0]
LORA_RATES = (0.003, 0.01, 0.03)


def parts_of(bench: Bench) -> dict[str, str]:
    """Start → the part that it scales."""
    workspace = bench.workspace
    asked = {
        "of": FORGET,
        "against": default_retain(workspace, FORGET),
        "sites": (SITE,),
        "sources": ("discriminant",),
        "shortlist": 1,
        "about": False,
    }
    search, known = find_parts(workspace, FindConfig.checked(asked, "find"))
    bench.book.add(known.gathered([search.pick.part]))
    neuron = coordinate_of(Target(workspace.model, bench.book, PICK))
    return {
        "the pick": PICK,
        "its raw neuron": neuron,
        "discriminant": search.pick.part,
        "random direction": f"random/{SITE}:0",
    }


def scaled(bench: Bench, part: str, run: Run, retain: RetainText, aim: Aim) -> Fit:
    """One scale on a part, of both signs the better."""
    starts = both_signs(bench.book, {part: [part]})
    return fit_sized(bench.workspace.model, starts, [run], retain, aim, FitConfig())[0]


def rows_of(
    bench: Bench, parts: Mapping[str, str], run: Run, retain: RetainText, aim: Aim, steps: int
) -> list[dict[str, Any]]:
    """All starts of one seed, scaled and trained."""
    rows: list[dict[str, Any]] = []

    def add(start: str, kind: str, fit: Fit, rate: float | None = None) -> None:
        assert fit.sized is not None
        said = {"start": start, "edit": kind, "seed": run.seed, "cap": run.margin, "rate": rate}
        said |= {"kl": fit.sized.worst, "size": fit.sized.size, "reached": fit.sized.reached}
        rows.append(said | {"weights": dict(fit.weights), **judged(bench.changed_by(fit.edit), aim)})

    for start, part in parts.items():
        fit = scaled(bench, part, run, retain, aim)
        add(start, "one scale", fit)
        further = trained_on(bench, Directions(fit.edit), run, retain, aim, steps, DIRECTIONS_RATE)
        add(start, "trained", further, DIRECTIONS_RATE)
    for rate in LORA_RATES:
        lora = Lora(bench.workspace.model, [SITE], rank=1)
        add("LoRA rank 1", "trained", trained_on(bench, lora, run, retain, aim, steps, rate), rate)
    return rows


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per start, edit and cap; of LoRA the rate that brings German farthest on validation text."""
    table = []
    for key in dict.fromkeys((r["start"], r["edit"], r["cap"], r["rate"]) for r in rows):
        some = [r for r in rows if (r["start"], r["edit"], r["cap"], r["rate"]) == key]
        one = dict(zip(("start", "edit", "cap", "rate"), key, strict=True)) | {"seeds": len(some)}
        for name in ("validation", "test", "unseen"):
            if name not in some[0]:
                continue
            shares, worst = ([r[name][what] for r in some] for what in ("share_of_chance", "worst_rise"))
            one[name] = {
                "successes": sum(r[name]["success"] for r in some),
                "share_of_chance": [min(shares), sum(shares) / len(shares), max(shares)],
                "worst_rise": [min(worst), sum(worst) / len(worst), max(worst)],
            }
        table.append(one)
    chosen: dict[float, float] = {}
    for one in table:
        if one["start"] == "LoRA rank 1":
            merit = one["validation"]["share_of_chance"][1]
            chosen[one["cap"]] = max(merit, chosen.get(one["cap"], -math.inf))
    for one in table:
        if one["start"] == "LoRA rank 1":
            one["chosen"] = one["validation"]["share_of_chance"][1] == chosen[one["cap"]]
    return table


def line(one: Mapping[str, Any]) -> str:
    """A row of the summary as it is printed."""
    said = f"{one['start']}, {one['edit']}, cap {one['cap']:g}"
    if one["start"] == "LoRA rank 1":
        said += f", rate {one['rate']:g}{' (chosen)' if one['chosen'] else ''}"
    for name in (n for n in ("validation", "test", "unseen") if n in one):
        low, mean, high = one[name]["share_of_chance"]
        said += (
            f"; {name} {one[name]['successes']}/{one['seeds']}, German {mean:.2f} ({low:.2f} to {high:.2f}) of chance, "
            f"worst rise {one[name]['worst_rise'][1]:+.4f} (to {one[name]['worst_rise'][2]:+.4f})"
        )
    return said


def main() -> None:
    """Fit, measure, print a line a row of the summary, and write the JSON where one is asked for."""
    options = argparse.ArgumentParser()
    options.add_argument("--unseen", type=Path, help="directory with the sources of UNSEEN")
    options.add_argument("--seeds", type=int, default=9)
    options.add_argument("--budget", type=int, default=2000, help="forget tokens")
    options.add_argument("--steps", type=int, default=100)
    options.add_argument("--tokens", type=int, default=2000, help="per domain and split, and per source")
    options.add_argument("--tolerance", type=float, default=0.015)
    options.add_argument("--caps", type=float, nargs="+", default=[1.1, 1.5])
    options.add_argument("--retain-tokens", type=int, default=6000)
    options.add_argument("--out", type=Path, help="write the JSON here too; must not exist")
    given = options.parse_args()
    if given.out is not None:
        refuse_existing(given.out)
    before, clock = environment(), time.monotonic()
    bench = opened(given.unseen, given.tokens, ["validation", "test"], paired=False)
    workspace = bench.workspace
    parts = parts_of(bench)
    rows, retain = [], None
    for cap in given.caps:
        retained = default_retain(workspace, FORGET)
        values = {"forget": FORGET, "retain": retained, "chance": workspace.chance, "cap": cap}
        aim = Aim.checked(values | {"tolerance": given.tolerance}, "aim")
        retain = retain or retain_text(workspace, aim, given.retain_tokens)
        for seed in range(given.seeds):
            text = forget_text(workspace, aim, given.budget, seed)
            rows += rows_of(bench, parts, Run(text, seed, 1.0, 0.3, cap), retain, aim, given.steps)
    table = summary(rows)
    for one in table:
        print(line(one))
    if given.out is not None:
        about = {"environment": before, "seconds": time.monotonic() - clock, "unseen": UNSEEN}
        about |= {"options": {k: v for k, v in vars(given).items() if k not in ("out", "unseen")}}
        write_json(given.out, about | {"summary": table, "rows": rows})


if __name__ == "__main__":
    main()
