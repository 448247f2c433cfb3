"""Memory of a run: running out of it as an error that says which knob to turn."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial

from rankone.core.errors import RankOneError
from rankone.core.foreign import memory_as
from rankone.decomposition.config import TrainingConfig
from rankone.runtime.distributed import current


def memory_advice(config: TrainingConfig) -> AbstractContextManager[None]:
    """Turn an allocation that fails inside the block into a RankOneError with the recipe's knobs."""
    return memory_as(partial(_advice, config))


def _advice(config: TrainingConfig, said: str) -> RankOneError:
    return RankOneError(
        f"out of memory ({said}). {_harmless_knobs(config)}Else lower rows ({config.rows}) or context "
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
