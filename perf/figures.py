"""What benchmarks of a harvest have in common: a clock, the dense layout's size, and the sizes and page time of a store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rankone.harvest.config import HarvestConfig
from rankone.harvest.reading.store import HarvestStore

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


def store_figures(out: Path, vocabulary: int, config: HarvestConfig) -> dict[str, Any]:
    """Sizes of the tables, the share of the dense layout, and the time of a page of subcomponents that fire."""
    with Clock() as opening:
        store = HarvestStore.open(out)
    sizes = {p.name: p.stat().st_size for p in sorted(out.iterdir())}
    names, alive = store.names(), np.flatnonzero(store.firings())
    chosen = np.random.default_rng(0).permutation(alive)[:PAGES].tolist()
    with Clock() as pages:
        for number in chosen:
            store.page(names[number])
    dense = dense_bytes(len(names), vocabulary, config.examples, config.window)
    return {
        "bytes": sum(sizes.values()),
        "bytes_by_file": sizes,
        "dense_bytes": dense,
        "dense_over_store": round(dense / sum(sizes.values()), 1),
        "opening": opening.seconds(),
        "page_processor_ms": round(1000 * pages.processor / len(chosen), 2),
        "page_wall_ms": round(1000 * pages.wall / len(chosen), 2),
    }
