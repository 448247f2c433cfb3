"""What an hour of training buys: the L0-reconstruction frontier of one target after equal processor time.

    python -m perf.quality --text ../shared/data --minutes 9 --run runs/quality

Implementations of one recipe (`--recipe`, that of the shipped decomposition's first stage by default), each for as
many steps as it makes in the same processor seconds of one thread, at several multiples of the importance coefficient:

    plain      perf/plain.py: the separate form with two extra ascents, straightforward
    separate   RankOne's step of the same form
    merged     RankOne's default form
    climbing   the same with an adversary that climbs four times as fast
    renewed    climbing, three rows in four adversarial, with sources drawn anew after some 40 ascents and stochastic rows
               that reach the corners

By default all but `separate`. The seconds count from the first step: kernels compiled are paid for. Schedules end with
the run. The evidence is that of `rankone evidence` on held-out text, after folding what is dead. Each case runs in a
process of its own, and one that is finished is not run again. The JSON and the figure, of all that are finished, go to
perf/results/.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from perf.cases import RECIPE, plain_trainer, take_back
from perf.environment import environment
from perf.plain import PlainImportance
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.core.artifact import read_json, write_json, write_text
from rankone.decomposition.adversary.config import PersistentConfig
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.evidence.attack import adversarial_rows
from rankone.decomposition.evidence.maskings import masking_rows
from rankone.decomposition.evidence.records import Masking, kl_of
from rankone.decomposition.evidence.sparsity import sparsity
from rankone.decomposition.evidence.text import EvidenceText
from rankone.decomposition.importance.shared_transformer import SharedTransformer
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.decomposition.run import evidence_text, fold_dead, mean_importance
from rankone.decomposition.sweep import scaled
from rankone.decomposition.training.passes import attention
from rankone.decomposition.training.trainer import Trainer
from rankone.models.loading import load_model, load_tokenizer
from rankone.recipes import recipe_file
from rankone.render.colours import PALETTE
from rankone.render.tables import Table
from rankone.render.theme import figure, log_axes, svg, themed
from rankone.runtime.progress import console
from rankone.subject import Subject
from rankone.text.corpus import Corpus
from rankone.text.mixture import mixture_pieces, mixture_rows
from rankone.text.opening import open_corpus

RESULTS = Path(__file__).resolve().parent / "results"
IMPLEMENTATIONS = ("plain", "separate", "merged", "climbing", "renewed")
CLIMBING_RATE = 0.2
LIFETIME, FRACTION = 40, 0.75
# The rows of a step: short runs want steps rather than large batches.
ROWS = 8
LADDER = (20, 80)
RESTARTS = 3
# Steps that are timed to know how many fit, after two that compile and allocate.
TRIAL = 5
FOLD_ROWS = 256
EVIDENCE_TOKENS = 1536
KL = {"kl_ci": "CI as mask", "kl_20": "attacked, 20 steps", "kl_80": "attacked, 80 steps"}


def recipe_of(path: Path, implementation: str, factor: float, steps: int, seed: int) -> DecomposeConfig:
    """The recipe in the implementation's form, its importance coefficients times `factor`."""
    config = DecomposeConfig.from_yaml(path)
    config = config.model_copy(update={"steps": steps, "rows": ROWS, "seed": seed})
    form = {"form": "separate" if implementation in ("plain", "separate") else "merged"}
    adversary: dict[str, Any] = {}
    assert isinstance(config.adversary, PersistentConfig)
    if implementation in ("climbing", "renewed"):
        adversary["learning_rate"] = config.adversary.learning_rate.model_copy(
            update={"start": CLIMBING_RATE}
        )
    if implementation == "renewed":
        adversary |= {"lifetime": LIFETIME, "fraction": FRACTION}
        form |= {"routing": "mixed", "sources": "corners"}
    changed = {
        "reconstruction": config.reconstruction.model_copy(update=form),
        "adversary": config.adversary.model_copy(update=adversary),
    }
    return scaled(config.model_copy(update=changed), factor)


class Run:
    """A run of one implementation: its step, and its decomposition when the run is over."""

    def __init__(
        self, implementation: str, target: PreTrainedModel, config: DecomposeConfig, rows: np.ndarray
    ):
        self.decomposition = new_decomposition(target, config)
        self._plain: PlainImportance | None = None
        self.step: Callable[[int], Any]
        if implementation == "plain":
            target.requires_grad_(False)
            trainer = plain_trainer(target, self.decomposition, config, torch.device("cpu"))
            self._plain, self.within = trainer.importance, nullcontext()
            self.step = lambda i: trainer.step(_batch(rows, i), i)
        else:
            ours = Trainer(target, self.decomposition, rows, config)
            self.step, self.within = ours.step, ours.installed()

    def finished(self) -> Decomposition:
        """The trained decomposition."""
        if self._plain is not None:
            assert isinstance(self.decomposition.importance, SharedTransformer)
            take_back(self.decomposition.importance, self._plain)
        return self.decomposition.eval().requires_grad_(False)


def _batch(rows: np.ndarray, index: int) -> Tensor:
    chosen = np.arange(index * ROWS, (index + 1) * ROWS) % len(rows)
    return torch.from_numpy(rows[chosen].astype(np.int64))


def drawn_rows(config: DecomposeConfig, tokenizer: PreTrainedTokenizerBase, corpus: Corpus) -> np.ndarray:
    """Shuffled training rows for all steps."""
    tokens = config.steps * config.rows * config.context
    rng = np.random.default_rng(config.seed)
    pieces = mixture_pieces(corpus, config.mixture, tokens, rng)
    return mixture_rows(tokenizer, pieces, config.mixture, tokens, config.context, rng)


def trained(
    implementation: str,
    path: Path,
    factor: float,
    seconds: float,
    seed: int,
    tokenizer: PreTrainedTokenizerBase,
    corpus: Corpus,
) -> tuple[Decomposition, DecomposeConfig, np.ndarray, dict[str, float]]:
    """A decomposition after `seconds` of processor time, and how they went."""
    trial = recipe_of(path, implementation, factor, 1000, seed)
    rows = drawn_rows(trial.model_copy(update={"steps": TRIAL + 2}), tokenizer, corpus)
    warm, step = _trial(implementation, trial, rows)
    config = recipe_of(path, implementation, factor, max(1, round((seconds - warm) / step)), seed)
    rows = drawn_rows(config, tokenizer, corpus)
    run = Run(implementation, load_model("mini"), config, rows)
    start = time.process_time()
    with run.within:
        for i in range(config.steps):
            run.step(i)
    spent = time.process_time() - start
    return (
        run.finished(),
        config,
        rows,
        {"steps": config.steps, "warm_s": warm, "step_s": step, "run_s": spent},
    )


def _trial(implementation: str, config: DecomposeConfig, rows: np.ndarray) -> tuple[float, float]:
    """Processor seconds that compiling and allocating cost, and those of a step."""
    run, times = Run(implementation, load_model("mini"), config, rows), []
    with run.within:
        for i in range(TRIAL + 2):
            start = time.process_time()
            run.step(i)
            times.append(time.process_time() - start)
    step = float(np.median(times[2:]))
    return max(0.0, sum(times[:2]) - 2 * step), step


def measured(decomposition: Decomposition, config: DecomposeConfig, subject: Subject) -> dict[str, Any]:
    """L0, alive, and KL under maskings and the adversary, delta off, on validation text."""
    blocks = evidence_text(subject, config.mixture, config.context, EVIDENCE_TOKENS)
    with (
        DecomposedModel(subject.model, decomposition) as model,
        attention(torch.device("cpu"), config.context),
    ):
        text = EvidenceText(model, blocks)
        rows = masking_rows(text)
        attacked = adversarial_rows(text, LADDER, delta=False, restarts=RESTARTS)
        found = sparsity(text)
    return {
        "tokens": int(blocks.present.sum()),
        "l0": found.l0_total,
        "alive": found.alive_total,
        "kl_unmasked": kl_of(rows, Masking.UNMASKED),
        "kl_stochastic": kl_of(rows, Masking.STOCHASTIC),
        "kl_ci": kl_of(rows, Masking.CI),
        **{f"kl_{n}": float(np.mean(row.kl_restarts)) for n, row in zip(LADDER, attacked, strict=True)},
        **{f"kl_{n}_restarts": row.kl_restarts for n, row in zip(LADDER, attacked, strict=True)},
    }


def case(implementation: str, factor: float, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """One run and its evidence, in this process on one thread."""
    torch.set_num_threads(1)
    tokenizer, corpus = load_tokenizer("mini"), open_corpus(given.text)
    decomposition, config, rows, time_spent = trained(
        implementation, given.recipe, factor, 60 * given.minutes, seed, tokenizer, corpus
    )
    importance = mean_importance(load_model("mini"), decomposition, rows, FOLD_ROWS)
    folded = fold_dead(decomposition, importance)
    return {
        "implementation": implementation,
        "factor": factor,
        "seed": seed,
        "minutes": given.minutes,
        **time_spent,
        **measured(folded, config, Subject(load_model("mini"), tokenizer, corpus)),
    }


@themed
def frontier(rows: list[dict[str, Any]]) -> Figure:
    """The figure: L0 against KL, a line per implementation, one panel per kind of ablation."""
    fig = figure(10, 4.5, "Equal processor time", "L0 against KL to the target, validation text")
    for axes, (key, title) in zip(fig.subplots(1, len(KL)), KL.items(), strict=True):
        for name, colour in zip(IMPLEMENTATIONS, PALETTE, strict=False):
            own = sorted((r for r in rows if r["implementation"] == name), key=lambda r: r["l0"])
            points = [r["l0"] for r in own], [r[key] for r in own]
            if own:
                axes.plot(*points, "o-", color=colour, label=name, markersize=4)
        axes.set(xlabel="L0", title=title)
        log_axes(axes)
    fig.axes[0].set_ylabel("KL, nats")
    fig.axes[0].legend(fontsize=8)
    return fig


def main() -> None:
    """Run what is not finished, and write table, JSON and figure."""
    given = _options()
    if given.case is not None:
        implementation, factor, seed = given.case
        write_json(given.out, case(implementation, float(factor), int(seed), given))
        return
    before = environment()
    given.run.mkdir(parents=True, exist_ok=True)
    for seed, factor, implementation in product(given.seeds, given.factors, given.implementations):
        finished = given.run / f"{implementation}-{factor:g}-{given.minutes:g}-seed{seed}.json"
        if not finished.exists():
            console.print(f"{implementation} × {factor:g}, seed {seed} …", markup=False)
            own = ["--case", implementation, str(factor), str(seed), "--out", str(finished)]
            own += ["--text", given.text, "--minutes", str(given.minutes), "--recipe", str(given.recipe)]
            subprocess.run([sys.executable, "-m", "perf.quality", *own], check=True)
    rows = [read_json(path) for path in sorted(given.run.glob(f"*-{given.minutes:g}-seed*.json"))]
    write_json(given.out, {"environment": before, "recipe": given.recipe.name, "results": rows})
    write_text(given.out.with_suffix(".svg"), svg(frontier(rows), "quality"))
    keys = [
        "implementation",
        "factor",
        "seed",
        "steps",
        "l0",
        "alive",
        "kl_unmasked",
        "kl_stochastic",
        "kl_ci",
        "kl_20",
        "kl_80",
    ]
    console.print(
        Table.of(
            f"{given.minutes:g} minutes of one core each", keys, [[row[k] for k in keys] for row in rows]
        )
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m perf.quality", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--text", default="builtin", help="builtin, or a directory with a folder per domain")
    parser.add_argument("--recipe", type=recipe_file, default=RECIPE)
    parser.add_argument("--minutes", type=float, default=9, help="processor time of each run")
    parser.add_argument(
        "--factors", type=float, nargs="+", default=[1.0, 0.5, 2.0], help="times the coefficients"
    )
    parser.add_argument(
        "--implementations",
        nargs="+",
        choices=IMPLEMENTATIONS,
        default=[name for name in IMPLEMENTATIONS if name != "separate"],
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--run", type=Path, default=Path("runs/quality"), help="where finished cases are kept"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "quality.json")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
