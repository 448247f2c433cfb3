"""Running out of memory as an error that says which knob to turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rankone.decomposition.config import DecomposeConfig
from rankone.errors import RankOneError

# How the CPU allocator words it; CUDA has an exception class of its own.
_WORDS = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory")


@contextmanager
def memory_advice(config: DecomposeConfig) -> Iterator[None]:
    """Turn an allocation that fails inside the block into a RankOneError with the recipe's knobs."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _advice(config, error) from error
    except RuntimeError as error:
        if not any(words in str(error).lower() for words in _WORDS):
            raise
        raise _advice(config, error) from error


def _advice(config: DecomposeConfig, error: BaseException) -> RankOneError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return RankOneError(
        f"out of memory ({reason}). Lower rows ({config.rows}) or context ({config.context}), give the sites a "
        "smaller C (subcomponents), or decompose fewer or later sites; `rankone decompose --estimate` shows what "
        "takes how much. The last checkpoint is kept."
    )
