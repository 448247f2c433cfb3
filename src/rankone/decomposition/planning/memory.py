"""Memory of a run: running out of it as an error that says which knob to turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rankone.core.errors import RankOneError, first_line
from rankone.core.foreign import is_out_of_memory
from rankone.decomposition.config import TrainingConfig
from rankone.runtime.distributed import current


@contextmanager
def memory_advice(config: TrainingConfig) -> Iterator[None]:
    """Turn an allocation that fails inside the block into a RankOneError with the recipe's knobs."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
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
