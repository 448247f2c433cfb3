"""How fast a harvest of the built-in pair is beside the forwards it cannot do without, and how large beside a dense one.

    python -m perf.harvest --tokens 3000 --out perf/results/harvest.json

The bar: harvesting at least 0.5 times as many tokens per second as the target's and the importance function's forward
alone. Both go over the same batches, one after the other, `--repeats` times in one run; the figures are medians, and the
smallest and largest ratio. They are timed in processor seconds too, which other work on the machine stretches less.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from perf.environment import environment
from perf.figures import Clock, store_figures

from rankone.core.artifact import write_json
from rankone.decomposition.model import DecomposedModel, load_decomposition
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.combine import combine
from rankone.harvest.counting.plan import Batch, batches
from rankone.harvest.run import harvest
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.sources.names import ASSETS
from rankone.runtime.memory import peak_megabytes
from rankone.text.sources.builtin import BuiltinCorpus
from rankone.workspace import Workspace


@dataclass(frozen=True)
class Work:
    """What is timed: the forwards alone, and a harvest, over the same batches."""

    workspace: Workspace
    config: HarvestConfig
    plan: list[Batch]
    device: str

    def forward(self, plan: list[Batch]) -> Clock:
        """The target's and the importance function's forward."""
        with DecomposedModel(self.workspace.model, self.workspace.decomposition) as model, Clock() as clock:
            for batch in plan:
                model.importance(batch.blocks.ids.to(self.device), batch.blocks.present.to(self.device))
        return clock

    def round(self, folder: Path) -> dict[str, Clock]:
        """Everything once."""
        forward = self.forward(self.plan)
        with Clock() as collecting:
            harvest(self.workspace, self.config, folder / "run")
        with Clock() as combining:
            combine([folder / "run"], folder / "out")
        return {"forward": forward, "collecting": collecting, "combining": combining}


def ratio(clocks: dict[str, Clock], kind: str, whole: bool) -> float:
    """Tokens per second of the harvest, with or without combining, over those of the forwards."""
    seconds = {name: clock.wall if kind == "wall" else clock.processor for name, clock in clocks.items()}
    return seconds["forward"] / (seconds["collecting"] + (seconds["combining"] if whole else 0.0))


def median(clocks: list[Clock]) -> dict[str, float]:
    """Median seconds."""
    return {
        "wall_s": round(statistics.median(c.wall for c in clocks), 3),
        "processor_s": round(statistics.median(c.processor for c in clocks), 3),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    found = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    """Measure and write the figures."""
    options = argparse.ArgumentParser()
    options.add_argument("--tokens", type=int, default=3000, help="per domain")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--out", type=Path, default=Path("perf/results/harvest.json"))
    options.add_argument("--device", default="cpu")
    options.add_argument("--batch-tokens", type=int, default=2048)
    given = options.parse_args()
    before = environment()
    target, tokenizer, corpus = load_model("mini"), load_tokenizer("mini"), BuiltinCorpus()
    decomposition, _ = load_decomposition(ASSETS / "mini-decomposition", target)
    target.to(given.device)
    decomposition.to(given.device)
    config = HarvestConfig(
        domains=tuple(corpus.domains()),
        tokens=given.tokens,
        context=int(target.config.max_position_embeddings),
        batch_tokens=given.batch_tokens,
    )
    plan = list(batches(tokenizer, corpus, config))
    total = sum(batch.blocks.tokens for batch in plan)
    work = Work(Workspace(target, tokenizer, corpus, decomposition), config, plan, given.device)
    work.forward(plan[:1])
    with tempfile.TemporaryDirectory() as folder:
        rounds = [work.round(Path(folder) / f"{i}") for i in range(given.repeats)]
        figures = store_figures(Path(folder) / "0" / "out", len(tokenizer), config)
    figures |= {
        "tokens": total,
        "device": given.device,
        **{name: median([r[name] for r in rounds]) for name in ("forward", "collecting", "combining")},
        **{
            f"ratio_{kind}{'_with_combining' if whole else ''}": spread(
                [ratio(r, kind, whole) for r in rounds]
            )
            for kind in ("wall", "processor")
            for whole in (False, True)
        },
        "peak_memory_mb": peak_megabytes(),
    }
    write_json(
        given.out, {"environment": before, "config": config.model_dump(mode="json"), "figures": figures}
    )
    for name, value in figures.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
