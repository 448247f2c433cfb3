"""A place that another run writes to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rankone.core.claims import claim


@contextmanager
def claimed_elsewhere(path: Path) -> Iterator[None]:
    """Another thread claims the place while the block runs."""
    taken, over = threading.Event(), threading.Event()

    def hold() -> None:
        with claim(path):
            taken.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(10)
    try:
        yield
    finally:
        over.set()
        thread.join()
