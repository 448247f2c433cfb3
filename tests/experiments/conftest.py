"""What benchmarks on tiny models share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def picked():
    """The tiny model's harvest names no German part: any one will do."""
    from rankone.edits.ranking.measured import Tried
    from rankone.experiments.job import Job

    patch = pytest.MonkeyPatch()
    patch.setattr(
        Job, "tried", property(lambda job: [Tried(job.workspace.require_parts().names()[0], 0.0, 1.0, 0.0)])
    )
    yield
    patch.undo()
