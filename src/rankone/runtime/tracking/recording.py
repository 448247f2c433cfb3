"""A run's numbers as they come: a line of `metrics.jsonl` each, and the same to every tracker.

The file is the record; a tracker is a convenience. One that breaks in mid-run is let go with a warning, the run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import JsonValue

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.runtime.checkpoint import append_metrics
from rankone.runtime.progress import log
from rankone.runtime.tracking.registry import require_trackers, sinks
from rankone.runtime.tracking.tracker import Tracked, Tracker


class Tracking(Config):
    """Which trackers are told of a run, and as what. name: '' is that of the run's folder; group: of the runs of a sweep."""

    trackers: tuple[str, ...] = ()
    name: str = ""
    group: str = ""


class Recorder:
    """Writes the numbers of one run; trackers are opened when the first of them comes. config: the recipe, for them."""

    def __init__(
        self, run: Path, tracking: Tracking | None = None, config: Mapping[str, JsonValue] | None = None
    ) -> None:
        self._run, self._tracking, self._config = run, tracking or Tracking(), config or {}
        self._open: dict[str, Tracker] | None = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step; RankOneError, at the first, for a tracker that cannot be opened."""
        append_metrics(self._run, {"step": step, **values})
        self._each(step, lambda tracker: tracker.log(step, values))

    def summary(self, values: Mapping[str, float]) -> None:
        """Numbers about the whole run; to trackers alone."""
        self._each(None, lambda tracker: tracker.summary(values))

    def close(self, failed: bool) -> None:
        """End the trackers."""
        if self._open:
            self._each(None, lambda tracker: tracker.close(failed))

    def _each(self, step: int | None, what: Callable[[Tracker], None]) -> None:
        if self._open is None:
            self._open = {name: self._opened(name, step) for name in self._tracking.trackers}
        for name, tracker in list(self._open.items()):
            try:
                what(tracker)
            except Exception as error:  # whatever a foreign tracker raises must not end hours of work
                del self._open[name]
                log.warning(
                    f"{name} broke off ({type(error).__name__}: {error}); the run goes on, its numbers are in "
                    f"'{self._run / 'metrics.jsonl'}'"
                )

    def _opened(self, name: str, step: int | None) -> Tracker:
        title = self._tracking.name or self._run.name
        try:
            return sinks()[name].open(Tracked(self._run, title, self._tracking.group, self._config, step))
        except RankOneError:
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            raise RankOneError(
                f"tracking in {name} could not begin ({said}). Log in there, set it to offline, or leave it out of --track; "
                "the run continues from where it is."
            ) from error


@contextmanager
def recording(
    run: Path, tracking: Tracking | None = None, config: Mapping[str, JsonValue] | None = None
) -> Generator[Recorder]:
    """A recorder for one sitting of a run; RankOneError for a tracker that is not there."""
    require_trackers((tracking or Tracking()).trackers)
    recorder = Recorder(run, tracking, config)
    failed = True
    try:
        yield recorder
        failed = False
    finally:
        recorder.close(failed)
