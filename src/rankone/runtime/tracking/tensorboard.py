"""TensorBoard: event files in `RUN/tensorboard`; nothing leaves the machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rankone.core.optional import optional
from rankone.runtime.tracking.tracker import Sink, Tracked

FOLDER = "tensorboard"


class TensorBoard:
    """Scalars of a run. A run that goes on hides what its last sitting wrote beyond the checkpoint (purge_step)."""

    def __init__(self, tracked: Tracked) -> None:
        optional("tensorboard", "tensorboard", "tracking in TensorBoard")
        from torch.utils.tensorboard import SummaryWriter

        # The writer's annotations are those of TensorFlow, which is not there.
        self._writer: Any = SummaryWriter(str(tracked.run / FOLDER), purge_step=tracked.start or None)
        self._last = tracked.start or 0
        if tracked.start == 0:
            self._writer.add_text("recipe", f"```json\n{json.dumps(dict(tracked.config), indent=1)}\n```")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar per name."""
        self._last = step
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def summary(self, values: Mapping[str, float]) -> None:
        """Scalars `summary/NAME` at the last step."""
        self.log(self._last, {f"summary/{name}": value for name, value in values.items()})

    def close(self, failed: bool) -> None:  # noqa: ARG002
        """Write what is held."""
        self._writer.close()


SINK = Sink("tensorboard", "tensorboard", "tensorboard", TensorBoard)
