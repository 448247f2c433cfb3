"""Does a graph choose a better part, or pair, than labels or importance do? And by which path does the picked part act?

    python -m perf.circuits_choice --harvest runs/harvest --labels runs/labels --unseen DIR --out FILE

Choosers name their first parts for German: `labels` (the demo's order), `importance` (mean importance, German less the
largest other domain), `graph` (what a part adds through all paths by the frozen rule to the tokens that do come next, German
less the largest size elsewhere; training text), and as a control `random` (drawn from the parts whose mean importance on
German is above FLOOR). Every one of them, and every pair of the first few with one scale for
both, is turned until German validation text is at .98 of chance; the one with the smallest worst rise of en, fr, es, it
and code there is chosen, and measured on test text and on whole sources of DIR (fits.py). Nothing is
fitted: no seeds but that of the draw.
The path: sources of the picked part over German and English text, then of its strongest source, down to the embeddings.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from perf.at_chance import part_at_chance
from perf.environment import environment
from perf.fits import FORGET, PARTS, Bench, opened
from torch import Tensor

from rankone.circuits.dataset import sums_over
from rankone.circuits.influence import influence_on_truth
from rankone.core.artifact import refuse_existing, write_json
from rankone.decomposition.model import DecomposedModel
from rankone.edits.selection import labelled_candidates, specificity, top_names
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.reading.summary import mean_importances
from rankone.labels.store import open_labels
from rankone.runtime.progress import meter, report
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace

TRAINED = ("en", "fr", "es", "it", "code")
# Least mean importance on German of a part that is drawn at random: one that turning can be expected to matter for.
FLOOR = 0.01


def influences(workspace: Workspace, text: Mapping[str, Blocks]) -> dict[str, Tensor]:
    """Domain → [parts] what each part adds to the true token's centred logit, mean per scored token."""
    parts, found = workspace.require_parts(), {}
    with meter("influence", sum(len(blocks.ids) for blocks in text.values())) as bar:
        for domain, blocks in text.items():
            total = torch.zeros(parts.total)
            for ids, present in zip(blocks.ids, blocks.present, strict=True):
                total += influence_on_truth(workspace.model, parts, ids[present])
                bar.advance(note=domain)
            found[domain] = total / blocks.tokens
    return found


def first_choices(bench: Bench, harvest: Path, labels: Path, tokens: int, count: int) -> dict[str, list[str]]:
    """The first parts of every chooser, best first."""
    space, domains = bench.workspace, [FORGET, *TRAINED]
    decomposition = space.decomposition
    assert decomposition is not None
    store = HarvestStore.open(harvest, decomposition, space.model)
    named, _ = labelled_candidates(
        store.importances(), store.activations(), open_labels(labels, store.artifact.fingerprint), FORGET
    )
    text = space.text(domains, "train", tokens)
    with DecomposedModel(space.model, decomposition) as model:
        importances = mean_importances(model, text)
    by_domain = influences(space, text)
    others = torch.stack([by_domain[d].abs() for d in TRAINED]).max(0).values
    active = (importances.of(FORGET) > FLOOR).nonzero().squeeze(1)
    drawn = active[torch.randperm(len(active), generator=torch.Generator().manual_seed(0))]
    return {
        "random": [importances.names[int(i)] for i in drawn[:count]],
        "labels": [c.name for c in named[:count]],
        "importance": top_names(importances, specificity(importances, FORGET), count),
        "graph": top_names(importances, by_domain[FORGET] - others, count),
    }


def chosen(bench: Bench, names: Sequence[str], split: str) -> list[dict[str, Any]]:
    """Those that get to chance, smallest worst rise of a trained domain first."""
    rows = [row for name in names if (row := part_at_chance(bench, name, split)) is not None]
    return sorted(rows, key=lambda row: trained(row["sets"][split]["rises"]))


def trained(rises: Mapping[str, float]) -> float:
    """The largest rise of a domain that the model was trained on."""
    return max(rises[d] for d in TRAINED if d in rises)


def path(bench: Bench, part: str, tokens: int, steps: int = 5, top: int = 3) -> list[dict[str, Any]]:
    """The strongest sources of a part over German text by the frozen rule, then of the strongest of them, and so on."""
    space, rows = bench.workspace, list[dict[str, Any]]()
    assert space.decomposition is not None
    text = {d: space.blocks(d, "validation", tokens, 32) for d in (FORGET, "en")}
    for _ in range(steps):
        sums = sums_over(space.model, space.decomposition, [part], text)
        german, english = (sums[d].edges["frozen"][0] / max(1, sums[d].tokens) for d in text)
        size = (sums[FORGET].squares[0] / max(1, sums[FORGET].tokens)).sqrt()
        strongest: list[int] = german.abs().argsort(descending=True)[:top].tolist()  # pyright: ignore
        names = space.require_parts().names()
        if german.abs().max() == 0:
            break
        sources = [
            {"source": names[i], "de": float(german[i] / size), "en": float(english[i] / size)}
            for i in strongest
        ]
        rows.append({"part": part, "rms": float(size), "sources": sources})
        part = names[strongest[0]]
    return rows


def main() -> None:
    """Choose, measure, print, save."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--harvest", type=Path, required=True)
    ask.add_argument("--labels", type=Path, required=True)
    ask.add_argument("--unseen", type=Path, help="folder with the sources of fits.UNSEEN")
    ask.add_argument("--count", type=int, default=8, help="parts of each chooser")
    ask.add_argument("--paired", type=int, default=5, help="of those, how many are paired with each other")
    ask.add_argument("--tokens", type=int, default=2000, help="tokens per domain, of every split")
    ask.add_argument("--out", type=Path, help="write the JSON here too; must not exist")
    asked = ask.parse_args()
    report()
    if asked.out is not None:
        refuse_existing(asked.out)
    clock = time.monotonic()
    tried = opened(None, asked.tokens, ["validation"], paired=False)
    last = opened(asked.unseen, asked.tokens, ["test"], paired=False)
    choices = first_choices(tried, asked.harvest, asked.labels, asked.tokens, asked.count)
    found: dict[str, Any] = {}
    for chooser, names in choices.items():
        pairs = {f"{a} + {b}": [a, b] for a, b in combinations(names[: asked.paired], 2)}
        tried.pair, last.pair = {**tried.pair, **pairs}, {**last.pair, **pairs}
        found[chooser] = {"names": names}
        for kind, some in (("single", names), ("pair", list(pairs))):
            reached = chosen(tried, some, "validation")
            best = part_at_chance(last, reached[0]["part"]) if reached else None
            found[chooser][kind] = {"tried": len(some), "reached": reached, "chosen": best}
            print(chooser, kind, f"{len(reached)} of {len(some)} get there;", _line(best))
    about = {"choosers": found, "path": path(tried, PARTS[0], 640), "tokens": asked.tokens}
    for step in about["path"]:
        print(step["part"], [(s["source"], round(s["de"], 3), round(s["en"], 3)) for s in step["sources"]])
    if asked.out is not None:
        write_json(asked.out, about | {"environment": environment(), "seconds": time.monotonic() - clock})


def _line(row: dict[str, Any] | None) -> str:
    if row is None:
        return "none"
    sets = (f"{name} {trained(said['rises']):+.4f} ({said['domain']})" for name, said in row["sets"].items())
    return f"{row['part']} α {row['alpha']:+.2f}, {', '.join(sets)}"


if __name__ == "__main__":
    main()
