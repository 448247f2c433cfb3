"""The evidence as an artefact: its values, the table of all subcomponents, the figure of the spectrum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rankone.core.artifact import new_artifact, write_json, write_text
from rankone.decomposition.evidence.figures import spectrum_figure
from rankone.render.theme import svg

KIND = "evidence"
TABLE = "subcomponents.parquet"


def save_evidence(
    out: Path, found: dict[str, Any], subcomponents: list[dict[str, Any]], provenance: dict[str, Any]
) -> None:
    """Write evidence.json, subcomponents.parquet and spectrum.svg, which is drawn from that table."""
    with new_artifact(out, KIND, provenance) as staging:
        write_json(staging / "evidence.json", found)
        pq.write_table(pa.Table.from_pylist(subcomponents), staging / TABLE, compression="zstd")
        figure = spectrum_figure(pq.read_table(staging / TABLE).to_pylist())
        write_text(staging / "spectrum.svg", svg(figure, "spectrum"))
