"""A harvest from start to end: a shard's pass over the text, resumed if it was cut off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from rankone.core.artifact import Artifact
from rankone.core.claims import claim
from rankone.decomposition.model import DecomposedModel, save_decomposition
from rankone.harvest.config import HELD_PARTS, HarvestConfig
from rankone.harvest.counting.chunks import ShardFolder, progress_of
from rankone.harvest.counting.collect import Collector
from rankone.harvest.counting.grouping import Grouping
from rankone.harvest.counting.plan import Batch, batches
from rankone.harvest.counting.shard import Shard
from rankone.harvest.origin import origin
from rankone.harvest.records import About, Finished
from rankone.runtime.progress import Meter, log, meter
from rankone.text.vocabulary import spelled
from rankone.workspace import Workspace

CHUNK_TOKENS = 20_000


def describe(workspace: Workspace, config: HarvestConfig, grouping: Grouping | None = None) -> About:
    """What is harvested: settings, origin, names of what is counted and of tokens."""
    names = tuple(workspace.decomposition.names())
    return About(
        **dict(origin(workspace)),
        config=config,
        parts=names if grouping is None else tuple(grouping.names),
        tokens=tuple(spelled(workspace.tokenizer, workspace.vocabulary)),
        columns=() if grouping is None else names,
        clusters=None if grouping is None else grouping.clusters,
    )


def harvest(
    workspace: Workspace,
    config: HarvestConfig,
    run: Path,
    shard: Shard | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
    grouping: Grouping | None = None,
    keep_parts: bool = False,
) -> None:
    """Count one shard's batches into `run`; a shard cut off goes on after its last chunk.

    grouping: components to count in place of subcomponents. keep_parts: the harvest shall hold the parts that it counts,
    which lie nowhere else. chunk_tokens: tokens between two chunks, what an interruption
    may cost. Raises RankOneError for text that is missing or empty, and for a run directory of something else.
    """
    shard, parts = shard or Shard(), workspace.decomposition
    with claim(run / shard.folder):
        folder = ShardFolder(run, shard, describe(workspace, config, grouping))
        if folder.finished:
            log.info(f"{shard.folder} is finished")
            return
        if keep_parts and not (folder.path / HELD_PARTS).exists():
            save_decomposition(parts, workspace.model, folder.path / HELD_PARTS, {}, None, "float32")
        done = folder.chunks()
        first = progress_of(done[-1]).stop if done else 0
        if done:
            log.info(f"{shard.folder}: resuming at batch {first}")
        with (
            DecomposedModel(workspace.model, parts) as model,
            meter("harvest", len(config.domains) * config.tokens) as bar,
        ):
            collector = Collector(model, config, grouping)
            _recall(collector, done)
            plan = batches(workspace.tokenizer, workspace.corpus, config)
            _Pass(folder, collector, config, chunk_tokens, bar).over(plan, first)


def _recall(collector: Collector, chunks: list[Artifact]) -> None:
    """Take note of the sample so far: it says which firings need not be looked at."""
    for chunk in chunks:
        path = chunk.path / "examples.parquet"
        if path.exists():
            table = pq.read_table(path, columns=["part", "key"])
            collector.bounds.tighten(table["part"].to_numpy(), table["key"].to_numpy())


class _Pass:
    """A shard's way through the batches, cut into chunks."""

    def __init__(
        self,
        folder: ShardFolder,
        collector: Collector,
        config: HarvestConfig,
        chunk_tokens: int,
        bar: Meter,
    ) -> None:
        self.folder, self.collector, self.config = folder, collector, config
        self.chunk_tokens, self.bar = chunk_tokens, bar
        self.tokens = np.zeros(len(config.domains), dtype=np.int64)
        self.last = -1

    def over(self, plan: Iterator[Batch], first: int) -> None:
        """Count the shard's batches from `first` on."""
        mine = (b for b in self._seen(plan) if b.index >= first and self.folder.shard.owns(b.index))
        batch = next(mine, None)
        while batch is not None:
            batch = self._fill(batch, mine)
        values = dict(zip(self.config.domains, self.tokens.tolist(), strict=True))
        self.folder.finish(Finished(tokens=values, batches=self.last + 1))

    def _seen(self, plan: Iterator[Batch]) -> Iterator[Batch]:
        for batch in plan:
            self.tokens[batch.domain] += batch.blocks.tokens
            self.last = batch.index
            yield batch
            self.bar.advance(batch.blocks.tokens, self.config.domains[batch.domain])

    def _fill(self, batch: Batch, mine: Iterator[Batch]) -> Batch | None:
        """Write one chunk that begins with `batch`; returns the first batch not in it."""
        with self.folder.open_chunk(batch.index) as chunk:
            size = 0
            current: Batch | None = batch
            while current is not None and size < self.chunk_tokens:
                self.collector.add(current, chunk)
                size += current.blocks.tokens
                chunk.stop = current.index + 1
                current = next(mine, None)
            self.collector.flush(chunk)
        return current
