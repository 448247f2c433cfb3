"""Memory of a run: running out of it as an error that says which knob to turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rankone.core.errors import RankOneError, first_line
from rankone.decomposition.config import TrainingConfig
from rankone.runtime.distributed import current

# How the CPU allocator words it; CUDA has an exception class of its own.
_WORDS = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory")


@contextmanager
def memory_advice(config: TrainingConfig) -> Iterator[None]:
    """Turn an allocation that fails inside the block into a RankOneError with the recipe's knobs."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _advice(config, error) from error
    except RuntimeError as error:
        if not any(words in str(error).lower() for words in _WORDS):
            raise
        raise _advice(config, error) from error


def _advice(config: TrainingConfig, error: BaseException) -> RankOneError:
    return RankOneError(
        f"out of memory ({first_line(error)}). {_harmless_knobs(config)}Else lower rows ({config.rows}) or context "
        f"({config.context}), give the sites a smaller C (subcomponents), or decompose fewer or later sites; `rankone "
        "decompose --estimate` shows what takes how much. The last checkpoint is kept."
    )


def _harmless_knobs(config: TrainingConfig) -> str:
    """The knobs that leave the result as it is and let the run go on from its checkpoint."""
    machine, knobs = config.machine, []
    rows = config.rows // current().size
    larger = [n for n in range(machine.accumulation + 1, rows + 1) if rows % n == 0]
    if larger:
        knobs.append(f"machine.accumulation {larger[0]} (now {machine.accumulation})")
    if not machine.activation_checkpointing:
        knobs.append("machine.activation_checkpointing true")
    if machine.sharding == "none":
        knobs.append("more GPUs with machine.sharding fsdp")
    return f"These leave the result as it is: {', '.join(knobs)}. " if knobs else ""
