"""The kept tables anew: `python -m tests.render.renew [COMMAND...]`; all of them take some ten minutes on one core.

Every command of printed.json is typed again in a folder that holds what the walk's reader has. With commands, each one
quoted, these alone are: what they print takes the place of what they printed; a command that is not there yet is added.
What they measure of the machine (seconds of a step) differs each time: such a change is not worth keeping.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.helpers import tokenizer
from tests.prepared import Prepared
from tests.render import kept
from tests.test_walk import own_things
from tests.walking import made_by

from rankone.core.paths import checked

# Commands that make what kept ones read; their own kinds of tables are kept from shorter ones.
ALSO = (
    "harvest --out runs/harvest",
    "label runs/harvest --out runs/labels",
    "cluster --out runs/clusters",
    "edit neuron/h.3.mlp.down_proj:270=-2 --out runs/no-lists",
)


class Reader:
    """Types commands in a folder; `lines`: all that can make what one of them reads."""

    def __init__(self, folder: Path, lines: list[str]) -> None:
        own_things(folder, tokenizer())
        self.folder = folder
        left_by_killed_run(folder / "tmp")
        self.makers = {name: line for line in lines for name in made_by(shlex.split(line))}
        own = {"COLUMNS": "80", "HF_HUB_OFFLINE": "1", "TMPDIR": str(folder / "tmp")}
        self.environment = {**os.environ, **own}
        self.prepared = Prepared(self.environment)
        self.printed: dict[str, list[dict]] = {}

    def tables(self, line: str) -> list[dict]:
        """What a command prints; those that make what it reads are typed before it."""
        if line in self.printed:
            return self.printed[line]
        words = shlex.split(line)
        for maker in (self.makers[word] for word in words if word in self.makers):
            if maker != line:
                self.tables(maker)
        place, clock = self.folder / "tmp" / "tables.json", time.monotonic()
        done = self.prepared.run(words, self.folder, self.environment, place)
        sys.stdout.write(f"{time.monotonic() - clock:6.1f} s  {line}\n")
        sys.stdout.flush()
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        self.printed[line] = json.loads(place.read_text("utf8").replace(self.environment["TMPDIR"], "/tmp"))
        return self.printed[line]


def left_by_killed_run(place: Path) -> None:
    """A scratch folder whose lock nobody holds, for `doctor --clean`."""
    drawn = "0" * 8
    folder = place / f"rankone-harvest-{drawn}{checked('harvest', 'scratch', drawn)}"
    folder.mkdir()
    (folder / ".rankone-scratch").touch()


def main(lines: list[str]) -> None:
    """Renew what these commands print, or what all that are kept do; what has run is kept if a later one fails."""
    tables: dict[str, list[dict]] = {}
    for one in json.loads(kept.PRINTED.read_text("utf8")):
        tables.setdefault(one["command"], []).append(one["table"])
    with TemporaryDirectory() as folder:
        reader = Reader(Path(folder), [*ALSO, *tables, *lines])
        for line in lines or list(tables):
            tables[line] = reader.tables(line)
            kept.write(tables, kept.PRINTED)
        reader.prepared.close()


if __name__ == "__main__":
    main(sys.argv[1:])
