"""How fast a harvest of the built-in pair is beside the forwards it cannot do without, and how large beside a dense one.

    python -m benchmarks.harvest --tokens 3000 --out benchmarks/results/harvest.json

The bar: harvesting at least 0.5 times as many tokens per second as the target's and the importance function's forward
alone, over the same batches. Both are timed in processor seconds too, which other work on the machine does not stretch.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from benchmarks.environment import environment

from rankone.artifact import write_json
from rankone.decomposition.model import DecomposedModel, load_decomposition
from rankone.harvest.combine import combine
from rankone.harvest.config import HarvestConfig
from rankone.harvest.plan import batches
from rankone.harvest.run import harvest
from rankone.harvest.store import HarvestStore
from rankone.models.loading import ASSETS, load_model, load_tokenizer
from rankone.text.builtin import BuiltinCorpus

PAGES = 50


class Clock:
    """Wall and processor seconds of a block."""

    def __enter__(self) -> Clock:
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *raised: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.wall, self.processor = time.perf_counter() - self._start[0], time.process_time() - self._start[1]

    def seconds(self) -> dict[str, float]:
        """Both, rounded."""
        return {"wall_s": round(self.wall, 3), "processor_s": round(self.processor, 3)}


def dense_bytes(components: int, vocabulary: int, examples: int, window: int) -> int:
    """The dense layout: two tables of fp32 per vocabulary entry, counts of all pairs, and full windows of examples."""
    tokens = 2 * 4 * components * vocabulary
    pairs = 4 * components**2
    windows = components * examples * (2 * window + 1) * 12  # token id, importance, activation
    return tokens + pairs + windows


def main() -> None:
    """Measure and write the figures."""
    options = argparse.ArgumentParser()
    options.add_argument("--tokens", type=int, default=3000, help="per domain")
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/harvest.json"))
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
    with DecomposedModel(target, decomposition) as model:
        model.importance(plan[0].blocks.ids.to(given.device))
        with Clock() as forward:
            for batch in plan:
                ids, present = batch.blocks.ids.to(given.device), batch.blocks.present.to(given.device)
                model.importance(ids, present)
    with tempfile.TemporaryDirectory() as folder:
        run, out = Path(folder) / "run", Path(folder) / "out"
        with Clock() as collecting:
            harvest(target, tokenizer, decomposition, corpus, config, run)
        with Clock() as combining:
            combine([run], out)
        figures = store_figures(out, len(tokenizer), config)
    figures |= {
        "tokens": total,
        "device": given.device,
        "forward": forward.seconds(),
        "collecting": collecting.seconds(),
        "combining": combining.seconds(),
        "ratio_wall": round(forward.wall / collecting.wall, 3),
        "ratio_processor": round(forward.processor / collecting.processor, 3),
        "ratio_processor_with_combining": round(
            forward.processor / (collecting.processor + combining.processor), 3
        ),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    write_json(
        given.out, {"environment": before, "config": config.model_dump(mode="json"), "figures": figures}
    )
    for name, value in figures.items():
        print(f"{name}: {value}")


def store_figures(out: Path, vocabulary: int, config: HarvestConfig) -> dict[str, Any]:
    """Sizes of the tables, the share of the dense layout, and the time of a page."""
    with Clock() as opening:
        store = HarvestStore.open(out)
    sizes = {p.name: p.stat().st_size for p in sorted(out.iterdir())}
    names = store.components()
    generator = torch.Generator().manual_seed(0)
    chosen = [names[i] for i in torch.randperm(len(names), generator=generator)[:PAGES].tolist()]
    with Clock() as pages:
        for name in chosen:
            store.page(name)
    dense = dense_bytes(len(names), vocabulary, config.examples, config.window)
    return {
        "bytes": sum(sizes.values()),
        "bytes_by_file": sizes,
        "dense_bytes": dense,
        "dense_over_store": round(dense / sum(sizes.values()), 1),
        "opening": opening.seconds(),
        "page_processor_ms": round(1000 * pages.processor / PAGES, 2),
        "page_wall_ms": round(1000 * pages.wall / PAGES, 2),
    }


if __name__ == "__main__":
    main()
