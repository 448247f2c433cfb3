"""What a harvest says of itself: in its config, and while it is being made."""

from __future__ import annotations

from rankone.core.config import Config
from rankone.harvest.config import HarvestConfig
from rankone.harvest.origin import Origin


class HarvestRecord(Origin):
    """The config of a harvest. tokens: text tokens per domain. parts: how many are counted.

    clusters: fingerprint of the clustering whose components are counted; None where it is subcomponents.
    """

    config: HarvestConfig
    tokens: dict[str, int]
    parts: int
    clusters: str | None = None


class About(Origin):
    """What a shard is of; equal for all shards of one harvest.

    parts: names of what is counted. tokens: the vocabulary as it is spelled. columns: of components, the names of all
    subcomponents, in the decomposition's order.
    """

    config: HarvestConfig
    parts: tuple[str, ...]
    tokens: tuple[str, ...]
    columns: tuple[str, ...] = ()
    clusters: str | None = None


class Progress(Config):
    """The batches of a chunk: from `first` up to, not including, `stop`."""

    first: int
    stop: int


class Finished(Config):
    """What a finished shard has seen: text tokens per domain and batches, those of all shards together."""

    tokens: dict[str, int]
    batches: int
