"""The evidence as an artefact: its values, the table of all subcomponents, the figure of the spectrum."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rankone.core.artifact import Provenance, new_artifact, write_json, write_text
from rankone.core.schemas.evidence import FILE
from rankone.decomposition.evidence.figures import spectrum_figure
from rankone.decomposition.evidence.records import Evidence, SubcomponentRow
from rankone.render.theme import svg

KIND = "evidence"
TABLE = "subcomponents.parquet"


def save_evidence(
    out: Path, evidence: Evidence, subcomponents: list[SubcomponentRow], provenance: Provenance
) -> None:
    """Write evidence.json, subcomponents.parquet and spectrum.svg, which is drawn from that table."""
    with new_artifact(out, KIND, provenance) as staging:
        write_json(staging / FILE, evidence.plain(), constants=True)
        pq.write_table(
            pa.Table.from_pylist([row.model_dump() for row in subcomponents]),
            staging / TABLE,
            compression="zstd",
        )
        figure = spectrum_figure(pq.read_table(staging / TABLE)["mean_importance"].to_pylist())
        write_text(staging / "spectrum.svg", svg(figure, "spectrum"))
