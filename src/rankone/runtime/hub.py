"""Whether the Hugging Face Hub can be asked, found out once and at once, so that nothing waits through retries."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

SECONDS = 3.0


@cache
def reachable() -> bool:
    """Whether the Hub's host answers, or a proxy stands between; False where HF_HUB_OFFLINE says so."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    address = urlsplit(constants.ENDPOINT)
    if address.scheme in getproxies():
        return True
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=SECONDS).close()
    except OSError:
        return False
    return True


def cached(name: str, file: str = "config.json") -> bool:
    """Whether a model repository's file lies in the local cache, as the Hub's libraries keep it."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, file), (str, os.PathLike))


def cache_folder() -> Path:
    """Where the Hub's libraries keep what they bring."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
