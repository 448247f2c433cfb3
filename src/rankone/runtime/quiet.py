"""The Hugging Face libraries kept quiet by their environment, without importing them: for programs, never on import."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

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
