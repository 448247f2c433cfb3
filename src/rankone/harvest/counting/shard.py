"""One of several parts of a harvest, each counted by its own process."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rankone.core.errors import RankOneError


@dataclass(frozen=True)
class Shard:
    """Shard `index` of `count`: it counts every `count`-th batch."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise RankOneError(
                f"no shard {self.index}/{self.count}: with {self.count} shards they are 0/{self.count} to "
                f"{max(self.count - 1, 0)}/{self.count}."
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`i/n`, counted from 0."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None:
            raise RankOneError(f"shard '{text}' is not I/N, as 0/4 for the first of four.")
        return cls(int(match[1]), int(match[2]))

    @property
    def folder(self) -> str:
        """Its folder's name in the run directory."""
        return f"shard-{self.index:03d}-of-{self.count:03d}"

    def owns(self, batch: int) -> bool:
        """Whether it counts this batch."""
        return batch % self.count == self.index
