"""How often does a fit do its job? Success and damage of fitted scales over many seeds, on text that no one has trained on.

    python -m perf.fits --unseen DIR --out perf/results/fits.json

Parts are the picks of the decomposition, the same sharpened, their raw coordinates, and the pair that `find` puts
together (two parts by one number, `pair`). Per part and kind of forget text (4 tokens; the model's own text, no token at
all) every seed is fitted and sized by the one rule, and the edits are measured on the built-in validation and test text and
on whole sources of DIR (docs/text.md) that are in no mixture `mini` was trained on (code has one source: its test split):
`sources`, which the rule may be tuned on, and `unseen`, which is reported.
With --train STEPS the directions of each fitted scale are then trained within the same tolerances, on what the model itself
goes on to write from the 4 tokens or from a few openings (edits/fitting/text/enough_text.py); beside them a LoRA of rank 1
of the same matrix from its own random start, trained on the very text that was drawn for the first part.
Success: German at .98 of chance or more, and every other trained domain up by less than .03 nats. In fp32.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from perf.environment import environment

from rankone.core.artifact import refuse_existing, write_json
from rankone.core.errors import RankOneError
from rankone.decomposition.model import load_decomposition
from rankone.edits.adapters import Method
from rankone.edits.finding.find import find_parts
from rankone.edits.finding.request import FindConfig
from rankone.edits.finding.together import pair_parts
from rankone.edits.fitting.aim import CHANCE_SHARE, Aim
from rankone.edits.fitting.config import FitConfig
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Fit, Run
from rankone.edits.fitting.sized import fit_sized
from rankone.edits.fitting.text.forget_text import forget_text
from rankone.edits.fitting.text.retain_text import default_retain, retain_text
from rankone.edits.fitting.within import train_within
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.coordinate import coordinate_of
from rankone.edits.methods.kind import Target
from rankone.edits.methods.lora import Lora
from rankone.edits.requests import FitRequest, SharpenRequest
from rankone.edits.scales import both_signs, scale_edit
from rankone.edits.sharpen import sharpen
from rankone.experiments.tuning import DAMAGE_BAR, trained
from rankone.metrics.cross_entropy import text_losses
from rankone.metrics.damage import damages
from rankone.metrics.wilson import wilson_interval
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.sources.names import ASSETS
from rankone.parts.book import Book
from rankone.runtime.device import run_device
from rankone.text.blocks import Blocks, chunk_documents, joined, passage_blocks
from rankone.text.mixture import CHUNK_CHARS
from rankone.text.sources.builtin import BuiltinCorpus
from rankone.text.sources.directory import DirectoryCorpus
from rankone.workspace import Workspace

# In no mixture of the recipe `mini`; code has one source only.
UNSEEN = {
    "de": ("gesetze", "mdn", "phpdocs"),
    "en": ("cppdocs", "phpdocs", "techdocs"),
    "fr": ("lois", "pydocs", "novels_more"),
    "es": ("leyes_uy", "openstax", "pydocs"),
    "it": ("vsdocs", "phpdocs"),
    "code": ("code",),
}
# In no mixture either, and reported nowhere else: what the rule is tuned on.
TUNED_ON = {
    "de": ("cppdocs", "vsdocs"),
    "fr": ("phpdocs", "vsdocs"),
    "es": ("cppdocs", "phpdocs", "vsdocs"),
}
PARTS = ("h.3.mlp.down_proj:270", "h.1.attn.o_proj:168")
FORGET = "de"
PAIR = {
    "sources": ("discriminant", "decomposition", "sharpened"),
    "shortlist": 12,
    "tokens": 6000,
    "rank_tokens": 300,
    "tolerance": {"domains": {}, "other": 0.02},
    "about": False,
    "together": True,
}
# Of Adam on a LoRA that is trained: the best of three on validation text (perf/trained.py).
LORA_RATE = 0.03
# Between scales that are measured apart.
STEP = 1.03


@dataclass
class Bench:
    """The workspace, its parts, and the text that edits are measured on, by set and domain."""

    workspace: Workspace
    book: Book
    text: dict[str, dict[str, Blocks]]
    pair: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        self.flat = {f"{name}/{d}": b for name, own in self.text.items() for d, b in own.items()}
        self.base = text_losses(self.workspace.model, self.flat)
        self.measured: dict[tuple[str, float], dict[str, dict[str, Any]]] = {}

    def changes(self, part: str, alpha: float) -> dict[str, dict[str, Any]]:
        """Set → domain → rise and cross-entropy of a part at a scale, to the next of a grid of α − 1 in steps of 3%."""
        steps = round(math.log(abs(alpha - 1)) / math.log(STEP))
        key = part, 1 + math.copysign(STEP**steps, alpha - 1)
        if key not in self.measured:
            self.measured[key] = self.changed_by(
                scale_edit(self.book, dict.fromkeys(self.pair.get(part, [part]), key[1]))
            )
        return self.measured[key]

    def changed_by(self, edit: LowRankEdit) -> dict[str, dict[str, Any]]:
        """The same of any edit."""
        found: dict[str, dict[str, Any]] = {name: {} for name in self.text}
        with edit.applied(self.workspace.model):
            changes = damages(self.base, text_losses(self.workspace.model, self.flat))
        for place, change in changes.items():
            name, _, domain = place.partition("/")
            found[name][domain] = {"ce": change.edited, "rise": change.rise, "error": change.error}
        return found


def opened(
    unseen: Path | None, tokens: int, splits: Sequence[str], sites: Sequence[str] = (), paired: bool = True
) -> Bench:
    """mini on this machine's device with its own parts, the sharpened picks and the raw coordinates beside them.

    paired: and the pair of `find --together`, two minutes of search.
    """
    device = run_device()
    model = load_model("mini")
    decomposition, _ = load_decomposition(ASSETS / "mini-decomposition", model)
    model.to(device)  # pyright: ignore[reportArgumentType]
    workspace = Workspace(model, load_tokenizer("mini"), BuiltinCorpus(), decomposition.to(device))
    domains = (FORGET, *default_retain(workspace, FORGET))
    against = domains[1:]
    (sharpened,), _ = sharpen(workspace, SharpenRequest(names=PARTS, of=FORGET, against=against))
    book = Book([decomposition, sharpened], model)
    pair = pair_of(workspace, book, sites) if paired else {}
    text = {split: workspace.text(domains, split, tokens) for split in splits}
    if unseen is not None:
        corpus = DirectoryCorpus(unseen)
        text["sources"] = sources_text(workspace, corpus, TUNED_ON, "validation", tokens)
        text["unseen"] = sources_text(workspace, corpus, UNSEEN, "test", tokens)
    return Bench(workspace, book, text, pair)


def pair_of(workspace: Workspace, book: Book, sites: Sequence[str]) -> dict[str, Sequence[str]]:
    """The pair that `find --together` makes, put into the book; its name → its parts."""
    asked = {**PAIR, "of": FORGET, "against": default_retain(workspace, FORGET), "sites": tuple(sites)}
    search, known = find_parts(workspace, FindConfig.checked(asked, "find"))
    if search.pair is None:
        return {}
    print(search.pair, search.cpu_seconds)
    book.add(pair_parts(search.pair, FORGET, known))
    return {"pair": search.pair.names}


def sources_text(
    workspace: Workspace,
    corpus: DirectoryCorpus,
    sources: Mapping[str, Sequence[str]],
    split: str,
    tokens: int,
) -> dict[str, Blocks]:
    """Passages spread over a split of each source, as many tokens of each."""
    found = {}
    for domain, names in sources.items():
        passages: list[Blocks] = []
        for source in names:
            chunks = chunk_documents(corpus.source_documents(domain, source, split, 400_000), CHUNK_CHARS)
            passages.append(_rows(workspace, chunks[:: max(1, len(chunks) // 24)][:24], tokens))
        found[domain] = joined(passages)
    return found


def _rows(workspace: Workspace, passages: Sequence[str], tokens: int) -> Blocks:
    made = passage_blocks(workspace.tokenizer, passages, workspace.context, opener=workspace.opener)
    return made.take(tokens).to(workspace.device)


def fitted(bench: Bench, part: str, aim: Aim, retain: RetainText, seeds: int) -> list[Fit]:
    """All seeds of one part and aim, 4 forget tokens unless the text is the model's own."""
    runs = [Run(forget_text(bench.workspace, aim, 4, seed), seed, 1.0, 0.3, aim.cap) for seed in range(seeds)]
    starts = both_signs(bench.book, {part: bench.pair.get(part, [part])})
    if part in bench.pair:  # found with its sign
        starts = starts[:1]
    return fit_sized(bench.workspace.model, starts, runs, retain, aim, FitConfig())


def trained_too(bench: Bench, fits: Sequence[Fit], aim: Aim, retain: RetainText, steps: int) -> list[Fit]:
    """The directions of fitted scales, trained; a scale that the model writes no text for is left as it is, and said."""
    request, made = FitRequest(forget=aim.forget, train=steps), list[Fit]()
    for fit in fits:
        try:
            made.append(trained(bench.workspace, request, fit, retain, aim))
        except RankOneError as error:
            print(f"seed {fit.run.seed}: {error}")
            made.append(fit)
    return made


def loras(bench: Bench, site: str, fits: Sequence[Fit], aim: Aim, retain: RetainText) -> list[Fit]:
    """A LoRA of rank 1 from its own start for each trained fit, on its text and for as many steps."""
    method = Lora(bench.workspace.model, [site], rank=1)
    return [
        trained_on(bench, method, fit.run, retain, aim, fit.steps, LORA_RATE)
        for fit in fits
        if fit.before is not None
    ]


def trained_on(
    bench: Bench, method: Method, run: Run, retain: RetainText, aim: Aim, steps: int, rate: float
) -> Fit:
    """A method trained on a run's text within the tolerance, and sized."""
    held, run = retain.held(method.sites(), aim.measure), replace(run, learning_rate=rate)
    return train_within(bench.workspace.model, method, run, held, held, aim, steps)


def row(bench: Bench, part: str, aim: Aim, fit: Fit) -> dict[str, Any]:
    """One fit: scale, KL where it was sized, and per set of text the forget CE, the worst rise, and whether it succeeds."""
    assert fit.sized is not None
    scaled = (fit.before or fit).parameters
    found: dict[str, Any] = {
        "part": part,
        "forget": aim.forget,
        "seed": fit.run.seed,
        "tolerance": aim.tolerance,
        "cap": aim.cap,
        "alpha": float(scaled["alpha"][0]) if "alpha" in scaled else None,
        "reached": fit.sized.reached,
        "kl": fit.sized.worst,
        "steps": fit.steps,
        "forget_tokens": fit.run.forget.tokens,
    }
    one_scale = "alpha" in fit.parameters
    changes = bench.changes(part, found["alpha"]) if one_scale else bench.changed_by(fit.edit)
    return found | judged(changes, aim)


def judged(changes: Mapping[str, Mapping[str, Any]], aim: Aim) -> dict[str, dict[str, Any]]:
    """Per set of text: German over chance, every rise, the largest one of another domain, and whether it is a success."""
    found: dict[str, dict[str, Any]] = {}
    for name, domains in changes.items():
        share = domains[FORGET]["ce"] / aim.chance
        rises = {d: c["rise"] for d, c in domains.items() if d != FORGET}
        worst = max(rises, key=lambda d: rises[d])
        found[name] = {
            "share_of_chance": share,
            "worst_rise": rises[worst],
            "worst": worst,
            "rises": rises,
            "success": share >= CHANCE_SHARE and rises[worst] < DAMAGE_BAR,
        }
    return found


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per part, forget text, tolerance and set of text: successes with a Wilson interval, range of α, means."""
    table = []
    keys = dict.fromkeys((r["part"], r["forget"], r["tolerance"], r["cap"]) for r in rows)
    for key in keys:
        own = [r for r in rows if (r["part"], r["forget"], r["tolerance"], r["cap"]) == key]
        for name in (n for n in ("validation", "sources", "test", "unseen") if n in own[0]):
            good = sum(r[name]["success"] for r in own)
            low, high = wilson_interval(good / len(own), len(own))
            table.append(
                dict(zip(("part", "forget", "tolerance", "cap"), key, strict=True))
                | {"text": name, "successes": good, "seeds": len(own), "low": low, "high": high}
                | {"alpha": [f(r["alpha"] for r in own) for f in (min, max)] if own[0]["alpha"] else None}
                | {"share_of_chance": [f(r[name]["share_of_chance"] for r in own) for f in (min, max)]}
                | {"mean_share": fmean(r[name]["share_of_chance"] for r in own)}
                | {"worst_rise": max(r[name]["worst_rise"] for r in own)}
                | {"worst": max(own, key=lambda r: r[name]["worst_rise"])[name]["worst"]}
            )
    return table


def line(one: Mapping[str, Any]) -> str:
    """A row of the summary as it is printed."""
    shares, alphas = (" to ".join(f"{v:.2f}" for v in one[k] or ()) for k in ("share_of_chance", "alpha"))
    return (
        f"{one['part']}, forget {one['forget']}, KL ≤ {one['tolerance']}, cap {one['cap']}, on {one['text']}: "
        f"{one['successes']} of {one['seeds']} succeed ({one['low']:.0%} to {one['high']:.0%}); German over chance "
        f"{one['mean_share']:.2f} ({shares}), largest rise {one['worst_rise']:+.4f} "
        f"({one['worst']})" + (f", α {alphas}" if alphas else "")
    )


def main() -> None:
    """Fit, measure, print a line a row of the summary, and write the JSON where one is asked for."""
    options = argparse.ArgumentParser()
    options.add_argument("--unseen", type=Path, help="directory with the sources of UNSEEN")
    options.add_argument("--seeds", type=int, default=30)
    options.add_argument("--tokens", type=int, default=2000, help="per domain and split, and per source")
    options.add_argument("--tolerances", type=float, nargs="+", default=[0.015])
    options.add_argument("--caps", type=float, nargs="+", default=[1.1])
    options.add_argument("--parts", nargs="+", default=[])
    options.add_argument(
        "--sites", nargs="+", default=[], help="where the pair is looked for; all unless given"
    )
    options.add_argument("--forget", nargs="+", default=[FORGET, f"self:{FORGET}"])
    options.add_argument("--splits", nargs="+", default=["validation", "test"])
    options.add_argument("--retain-tokens", type=int, default=6000)
    options.add_argument(
        "--train", type=int, default=0, help="steps of training the directions; 0: scales alone"
    )
    options.add_argument("--out", type=Path, help="write the JSON here too; must not exist")
    given = options.parse_args()
    if given.out is not None:
        refuse_existing(given.out)
    before, clock = environment(), time.monotonic()
    wanted = not given.parts or "pair" in given.parts
    bench = opened(given.unseen, given.tokens, given.splits, given.sites, paired=wanted)
    workspace = bench.workspace
    neurons = [coordinate_of(Target(workspace.model, bench.book, part)) for part in PARTS]
    parts = given.parts or [*PARTS, *(f"sharpened-{FORGET}/{part}" for part in PARTS), *neurons, *bench.pair]
    retained, rows = default_retain(workspace, FORGET), []
    retain = None
    for forget in given.forget:
        for tolerance in given.tolerances:
            for cap in given.caps:
                aim = Aim(
                    forget=forget, retain=retained, chance=workspace.chance, cap=cap, tolerance=tolerance
                )
                retain = retain or retain_text(workspace, aim, given.retain_tokens)
                for part in parts:
                    fits = fitted(bench, part, aim, retain, given.seeds)
                    if given.train:
                        fits = trained_too(bench, fits, aim, retain, given.train)
                    rows += [row(bench, part, aim, fit) for fit in fits]
                    if given.train and part == parts[0]:
                        site = part.rpartition(":")[0].rpartition("/")[2]
                        others = loras(bench, site, fits, aim, retain)
                        rows += [row(bench, "LoRA rank 1", aim, fit) for fit in others]
    table = summary(rows)
    for one in table:
        print(line(one))
    if given.out is not None:
        about = {"environment": before, "seconds": time.monotonic() - clock, "unseen": UNSEEN}
        write_json(given.out, about | {"tuned_on": TUNED_ON, "summary": table, "rows": rows})


if __name__ == "__main__":
    main()
