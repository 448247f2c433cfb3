"""What a tracker is: a place beside the run's own `metrics.jsonl` that is told every line that is written there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from pydantic import JsonValue


class Tracked(NamedTuple):
    """What is tracked. run: its directory; name: what it is called; group: of the runs of a sweep; config: its recipe.

    start: first step that will be logged; above 0 the run goes on where it was cut off, and what an earlier sitting logged
    from there on is void. None: no more steps will be.
    """

    run: Path
    name: str
    group: str
    config: Mapping[str, JsonValue]
    start: int | None


class Tracker(Protocol):
    """An open tracker."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by name at a step; steps rise."""
        ...

    def summary(self, values: Mapping[str, float]) -> None:
        """Numbers about the whole run."""
        ...

    def close(self, failed: bool) -> None:
        """The end of the run, or of this sitting. failed: an exception ended it."""
        ...


@dataclass(frozen=True)
class Sink:
    """A tracker that can be asked for. extra: of this package, that brings `package`."""

    name: str
    package: str
    extra: str
    open: Callable[[Tracked], Tracker]
