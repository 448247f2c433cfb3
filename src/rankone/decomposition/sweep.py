"""The importance coefficient over five values around a recipe's: what L0 costs in reconstruction.

Both parts of the minimality loss are scaled by the same factor, so that the recipe's balance of activity and frequency
stays. Every value is a run of its own with a directory of its own; what is finished is not run again.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rankone.core.artifact import new_artifact, open_artifact, refuse_existing, write_text
from rankone.core.errors import RankOneError
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.evidence.records import evidence_of
from rankone.decomposition.frontier import Point, frontier_figure, point
from rankone.decomposition.model import KIND as DECOMPOSITION
from rankone.decomposition.model import load_decomposition
from rankone.decomposition.run import decompose, made_of
from rankone.render.theme import svg
from rankone.runtime.distributed import current
from rankone.runtime.places import holds
from rankone.runtime.progress import log
from rankone.runtime.tracking.recording import Tracking
from rankone.subject import Subject

KIND = "sweep"
FACTORS = tuple(4.0 ** (i / 2 - 1) for i in range(5))  # ¼, ½, 1, 2, 4
# Five runs of a fifth of the steps cost one whole run.
SHORTER = 5


def scaled(config: DecomposeConfig, factor: float) -> DecomposeConfig:
    """The recipe with both importance coefficients times `factor`."""
    minimality = config.minimality
    changed = {"activity": minimality.activity * factor, "frequency": minimality.frequency * factor}
    return config.model_copy(update={"minimality": minimality.model_copy(update=changed)})


@holds("out")
def sweep(
    config: DecomposeConfig, subject: Subject, run: Path, out: Path, trackers: tuple[str, ...] = ()
) -> list[Point]:
    """A point per coefficient (factor, activity, frequency, L0, alive, KL …), written to `out` with the figure of them.

    The decompositions stay in `run`, in a folder per factor; a sweep cut off goes on there. trackers: told of every run, all
    in one group.
    """
    current().on_first(lambda: refuse_existing(out))
    if config.minimality.activity == 0 and config.minimality.frequency == 0:
        raise RankOneError(
            "minimality.activity and .frequency are both 0: no multiple of them differs. Set one."
        )
    points = []
    for factor in FACTORS:
        changed = scaled(config, factor)
        folder = run / f"factor-{factor:g}"
        log.info(f"importance coefficient × {factor:g}: activity {changed.minimality.activity:.3g}")
        finished = folder / "decomposition"
        if finished.exists():
            _refuse_other(finished, changed, subject)
        else:
            tracking = Tracking(trackers=trackers, name=f"{out.name} x {factor:g}", group=out.name)
            decompose(changed, subject, folder / "run", finished, tracking=tracking)
        points.append(point(factor, changed, evidence_of(open_artifact(finished, DECOMPOSITION))))

    def write() -> None:
        with new_artifact(out, KIND, {"recipe": config.model_dump(), "factors": list(FACTORS)}) as staging:
            pq.write_table(
                pa.Table.from_pylist([p.model_dump() for p in points]),
                staging / "sweep.parquet",
                compression="zstd",
            )
            saved = [Point(**row) for row in pq.read_table(staging / "sweep.parquet").to_pylist()]
            write_text(staging / "frontier.svg", svg(frontier_figure(saved), "frontier"))

    current().on_first(write)
    return points


def _refuse_other(path: Path, config: DecomposeConfig, subject: Subject) -> None:
    """A finished run counts only if recipe, model and text are the same."""
    load_decomposition(path, subject.model)
    artifact = open_artifact(path, DECOMPOSITION)
    text = made_of(artifact).text
    if (
        artifact.provenance["recipe"] != config.model_dump(mode="json")
        or text is None
        or text.fingerprint != subject.corpus.fingerprint()
    ):
        raise RankOneError(
            f"'{path}' was made by another recipe or from other text. Use another run directory."
        )
