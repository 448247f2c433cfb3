"""Stages of a run whose results are kept: a run that was broken off goes on behind the last finished one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rankone.core.artifact import read_json, write_json
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.runtime.progress import log

CONFIG, SECONDS = "config.json", "seconds.json"
Result = TypeVar("Result", bound=Config)


class Seconds(Config):
    """What a stage took: on the clock, and of the processor (all threads)."""

    clock: float
    processor: float


class Stages:
    """A folder of results, one JSON file per stage, of one configuration.

    Raises RankOneError where the folder holds another run, or something else.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = folder
        said = config.model_dump(mode="json")
        if (folder / CONFIG).is_file():
            if read_json(folder / CONFIG) != said:
                raise RankOneError(
                    f"'{folder}' holds a run with other settings. Name another folder, or remove it."
                )
            log.info(f"going on with the run in '{folder}'")
            return
        if folder.exists() and any(folder.iterdir()):
            raise RankOneError(f"'{folder}' holds something else. Name another folder.")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONFIG, said)

    def stage(self, name: str, kind: type[Result], make: Callable[[], Result]) -> Result:
        """The result of a stage: as it was saved, or made now and saved with the time it took."""
        path = self.folder / f"{name}.json"
        if path.is_file():
            return kind.checked(read_json(path), str(path))
        log.info(name.replace("-", ", "))
        clock, cpu = time.monotonic(), time.process_time()
        made = make()
        write_json(path, made.model_dump(mode="json"), constants=True)
        self._took(name, time.monotonic() - clock, time.process_time() - cpu)
        return made

    def seconds(self) -> dict[str, Seconds]:
        """Stage → what it took, over all sittings of the run."""
        path = self.folder / SECONDS
        said = read_json(path) if path.is_file() else {}
        return {name: Seconds.model_validate(values) for name, values in said.items()}

    def _took(self, name: str, clock: float, cpu: float) -> None:
        noted = {**self.seconds(), name: Seconds(clock=clock, processor=cpu)}
        write_json(self.folder / SECONDS, {key: spent.model_dump() for key, spent in noted.items()})
