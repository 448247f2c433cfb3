"""Weights & Biases: a run in the project that WANDB_PROJECT names (`rankone` unless set); WANDB_MODE=offline keeps it here.

A run that goes on is the same run there: its id lies in `RUN/wandb-id.txt`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

from rankone.core.files import write_text
from rankone.core.optional import optional
from rankone.runtime.tracking.tracker import Sink, Tracked

ID = "wandb-id.txt"
PROJECT = "rankone"


class WandB:
    """A run of W&B. `step` is a column of its own: W&B's own counter may not go back, and a resumed run does."""

    def __init__(self, tracked: Tracked) -> None:
        # Its types are those of a package that need not be there.
        wandb: Any = optional("wandb", "wandb", "tracking in W&B")
        known = tracked.run / ID
        identity = known.read_text("utf8").strip() if known.is_file() else secrets.token_hex(4)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(tracked.run),
            id=identity,
            name=tracked.name,
            group=tracked.group or None,
            config=dict(tracked.config),
            resume="allow",
        )
        write_text(known, identity + "\n")
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One row, with its step."""
        self._run.log({"step": step, **values})

    def summary(self, values: Mapping[str, float]) -> None:
        """The run's summary."""
        self._run.summary.update(dict(values))

    def close(self, failed: bool) -> None:
        """Send what is left, and say how it ended."""
        self._run.finish(exit_code=1 if failed else 0)


SINK = Sink("wandb", "wandb", "wandb", WandB)
