"""Batches of a targeted run: narrow rows first, broad rows after them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int


def in_batches(
    narrow: Int[np.ndarray, "n t"], broad: Int[np.ndarray, "m t"], steps: int, rows: int, count: int
) -> Int[np.ndarray, "all t"]:
    """`steps` batches of `rows` rows one after the other, the first `count` of each narrow.

    A stream with too few rows for all steps is read again from its start.
    """
    first = np.arange(steps * count) % len(narrow)
    second = np.arange(steps * (rows - count)) % len(broad)
    parts = [narrow[first].reshape(steps, count, -1), broad[second].reshape(steps, rows - count, -1)]
    return np.concatenate(parts, axis=1).reshape(steps * rows, -1)


def streams(
    batches: Int[np.ndarray, "all t"], rows: int, count: int
) -> tuple[Int[np.ndarray, "n t"], Int[np.ndarray, "m t"]]:
    """The narrow and the broad rows of what `in_batches` made."""
    length = batches.shape[1]
    by_step = batches.reshape(-1, rows, length)
    return by_step[:, :count].reshape(-1, length), by_step[:, count:].reshape(-1, length)
