"""How long `import rankone` and `rankone --help` take: each in fresh processes, on a machine that does nothing else.

    python -m perf.startup --runs 9

Printed are the median and the least, in seconds of the clock and of the processor, with a bare interpreter beside them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

TIMED = {
    "python -c pass": ("-c", "pass"),
    "import rankone": ("-c", "import rankone"),
    "rankone --help": ("-m", "rankone", "--help"),
}


class Spent(NamedTuple):
    """Seconds of one process, from its start to its end."""

    clock: float
    processor: float


def once(words: tuple[str, ...]) -> Spent:
    """One fresh interpreter."""
    processor, clock = _of_children(), time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return Spent(time.perf_counter() - clock, _of_children() - processor)


def _of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description="Time the start of the package and of the command line.")
    parser.add_argument(
        "--runs", type=int, default=9, help="fresh processes of each; the first is not counted"
    )
    runs: int = parser.parse_args().runs
    for name, words in TIMED.items():
        once(words)  # compiles what is not compiled yet, and reads files that lie on a cold disk
        spent = [once(words) for _ in range(runs)]
        said = [
            f"{what} median {statistics.median(seconds):.3f} s, least {min(seconds):.3f} s"
            for what, seconds in zip(Spent._fields, zip(*spent, strict=True), strict=True)
        ]
        print(f"{name:15} {'; '.join(said)}")


if __name__ == "__main__":
    main()
