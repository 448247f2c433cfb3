"""How a step is laid out over processes and memory: it changes what a process holds, not what the step computes.

A run may go on with another layout, and with another number of processes, than it began with.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rankone.core.config import Config


class Machine(Config):
    """Layout of a step."""

    sharding: Literal["none", "fsdp"] = Field(
        default="none",
        description="under torchrun: every process holds all of U, V, the importance function and their optimiser "
        "(none), or its share of them (fsdp)",
    )
    accumulation: int = Field(
        default=1, ge=1, description="parts in which a process takes its rows of a step, one after the other"
    )
    activation_checkpointing: bool = Field(
        default=False,
        description="keep only the inputs of blocks for the backward and compute the rest of them again",
    )
