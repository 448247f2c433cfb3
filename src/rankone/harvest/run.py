"""A harvest from start to end: a shard's pass over the text, resumed if it was cut off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from rankone.core.artifact import Artifact
from rankone.core.claims import claim
from rankone.decomposition.model import DecomposedModel
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.collect import Collector
from rankone.harvest.counting.grouping import Grouping
from rankone.harvest.counting.parts import Shard, ShardFolder
from rankone.harvest.counting.plan import Batch, batches
from rankone.harvest.origin import origin
from rankone.runtime.progress import Meter, log, meter
from rankone.text.corpus import described
from rankone.text.vocabulary import spelled
from rankone.workspace import Workspace

PART_TOKENS = 200_000


def describe(workspace: Workspace, config: HarvestConfig, grouping: Grouping | None = None) -> dict[str, Any]:
    """What is harvested: settings, hashes, names of what is counted and of tokens; `hash` covers all of it."""
    corpus, decomposition = workspace.corpus, workspace.decomposition
    about = {
        "config": config.model_dump(mode="json"),
        **origin(workspace.model, decomposition),
        "text": described(corpus),
        "components": decomposition.names(),
        "tokens": spelled(workspace.tokenizer, workspace.vocabulary),
    }
    if grouping is not None:
        about |= {"components": grouping.names, "columns": about["components"], "clusters": grouping.clusters}
    return about | {"hash": hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()}


def harvest(
    workspace: Workspace,
    config: HarvestConfig,
    run: Path,
    shard: Shard | None = None,
    part_tokens: int = PART_TOKENS,
    stop_after: int | None = None,
    grouping: Grouping | None = None,
) -> bool:
    """Count one shard's batches into `run`; a shard cut off goes on after its last part.

    grouping: components to count in place of subcomponents. part_tokens: tokens between two parts, what an interruption
    may cost. stop_after: leave off after so many parts. Returns whether the shard is finished. Raises RankOneError for
    text that is missing or empty, and for a run directory of something else.
    """
    shard = shard or Shard()
    with claim(run / shard.folder):
        return _harvest(workspace, config, run, shard, part_tokens, stop_after, grouping)


def _harvest(
    workspace: Workspace,
    config: HarvestConfig,
    run: Path,
    shard: Shard,
    part_tokens: int,
    stop_after: int | None,
    grouping: Grouping | None,
) -> bool:
    folder = ShardFolder(run, shard, describe(workspace, config, grouping))
    if folder.finished:
        log.info(f"{shard.folder} is finished")
        return True
    done = folder.parts()
    progress: dict[str, Any] = done[-1].json("progress.json") if done else {"stop": 0}
    first = progress["stop"]
    if done:
        log.info(f"{shard.folder}: resuming at batch {first}")
    with (
        DecomposedModel(workspace.model, workspace.decomposition) as model,
        meter("harvest", len(config.domains) * config.tokens) as bar,
    ):
        collector = Collector(model, config, grouping)
        _recall(collector, done)
        return _Pass(folder, collector, config, part_tokens, stop_after, bar).over(
            batches(workspace.tokenizer, workspace.corpus, config), first
        )


def _recall(collector: Collector, parts: list[Artifact]) -> None:
    """Take note of the sample so far: it says which firings need not be looked at."""
    for part in parts:
        path = part.path / "examples.parquet"
        if path.exists():
            table = pq.read_table(path, columns=["component", "key"])
            collector.bounds.tighten(table["component"].to_numpy(), table["key"].to_numpy())


class _Pass:
    """A shard's way through the batches, cut into parts."""

    def __init__(
        self,
        folder: ShardFolder,
        collector: Collector,
        config: HarvestConfig,
        part_tokens: int,
        stop_after: int | None,
        bar: Meter,
    ) -> None:
        self.folder, self.collector, self.config = folder, collector, config
        self.part_tokens, self.stop_after, self.bar = part_tokens, stop_after, bar
        self.tokens = np.zeros(len(config.domains), dtype=np.int64)
        self.last = -1

    def over(self, plan: Iterator[Batch], first: int) -> bool:
        """Count the shard's batches from `first` on; True once all of them are."""
        written = 0
        mine = (b for b in self._seen(plan) if b.index >= first and self.folder.shard.owns(b.index))
        batch = next(mine, None)
        while batch is not None:
            if written == self.stop_after:
                return False
            batch = self._fill(batch, mine)
            written += 1
        values = dict(zip(self.config.domains, self.tokens.tolist(), strict=True))
        self.folder.finish({"tokens": values, "batches": self.last + 1})
        return True

    def _seen(self, plan: Iterator[Batch]) -> Iterator[Batch]:
        for batch in plan:
            self.tokens[batch.domain] += batch.blocks.tokens
            self.last = batch.index
            yield batch
            self.bar.advance(batch.blocks.tokens, self.config.domains[batch.domain])

    def _fill(self, batch: Batch, mine: Iterator[Batch]) -> Batch | None:
        """Write one part that begins with `batch`; returns the first batch not in it."""
        with self.folder.open_part(batch.index) as (part, progress):
            size = 0
            current: Batch | None = batch
            while current is not None and size < self.part_tokens:
                self.collector.add(current, part)
                size += current.blocks.tokens
                progress["stop"] = current.index + 1
                current = next(mine, None)
            self.collector.flush(part)
        return current
