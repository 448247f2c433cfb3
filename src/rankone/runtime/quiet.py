"""The Hugging Face libraries kept quiet by their environment, for programs, never on import; and while files are read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TextIO

# Threads of several processes that wait for each other sleep: on busy cores spinning costs severalfold.
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}
QUIET = {
    "TOKENIZERS_PARALLELISM": "true",  # said, so that a fork brings no warning
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def quiet_libraries(environment: MutableMapping[str, str] = os.environ) -> None:
    """Ask for errors alone and no progress bars, where the user asks for nothing else.

    The libraries read this when they are first imported: call it at the start of a program. Ours are the bars that a user of
    the command line reads.
    """
    for name, value in QUIET.items():
        environment.setdefault(name, value)


def lines_out() -> TextIO:
    """Standard output for the lines of a process that another one reads; what libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf8")
    os.dup2(2, 1)
    return out


@contextmanager
def without_bars(quiet: bool = True) -> Iterator[None]:
    """transformers' progress bars off while the block runs, then as they were: reading files of this machine needs none."""
    from transformers.utils import logging

    if not (quiet and logging.is_progress_bar_enabled()):
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the Hub's own, where the user has switched them off for good
            logging.enable_progress_bar()
