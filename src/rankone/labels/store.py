"""Labels as an artefact: one Parquet table, tied to the harvest they were made from."""

# pyarrow has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from rankone.core.artifact import Artifact, new_artifact, open_artifact, write_json
from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest
from rankone.core.escaping import SHOWN, clipped
from rankone.core.reading import reading
from rankone.labels.label import STATISTICAL, Label
from rankone.sharing.fetching import local
from rankone.sharing.stored import Stored

KIND, TABLE, CONFIG = "labels", "labels", "config.json"
_SCHEMA = pa.schema(
    [
        ("part", pa.string()),
        ("label", pa.string()),
        ("confidence", pa.float64()),
        ("source", pa.string()),
        ("reasoning", pa.string()),
        ("scores", pa.map_(pa.string(), pa.float64())),
    ]
)


def save_labels(
    path: Path | str,
    labels: Iterable[Label],
    harvest: str,
    record: Config,
    decomposition: str | None = None,
) -> None:
    """Write labels to a new artefact; `harvest` is the fingerprint of the harvest they were made from, `decomposition` the
    hash that it has of its own.

    record: how they were made (settings, what they cost), for the reader.
    """
    rows = [vars(label) | {"scores": list(label.scores.items())} for label in labels]
    made_from: dict[str, JsonValue] = {"harvest": harvest}
    if decomposition is not None:
        made_from["decomposition"] = decomposition
    with new_artifact(path, KIND, made_from) as folder:
        pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), folder / f"{TABLE}.parquet", compression="zstd")
        write_json(folder / CONFIG, record.model_dump(mode="json"))


@dataclass(frozen=True)
class Labels(Stored):
    """Opened labels, by part; the statistical label comes first, then those of models."""

    artifact: Artifact
    by_part: dict[str, list[Label]]

    @classmethod
    def from_pretrained(cls, name: Path | str, harvest: str | None = None) -> Labels:
        """Open a folder, Hub id (OWNER/NAME, or with @REVISION) or address; errors as `open_labels`, and the Hub's."""
        return open_labels(local(name, KIND), harvest)

    @property
    def decomposition(self) -> str | None:
        """Hash of the decomposition whose parts they are of; None where it was not kept."""
        said = self.artifact.provenance.get("decomposition")
        return said if isinstance(said, str) else None

    def names(self) -> list[str]:
        """The labelled parts, in the harvest's order."""
        return list(self.by_part)

    def of(self, part: str) -> list[Label]:
        """All labels of one part."""
        if part not in self.by_part:
            raise RankOneError(
                f"no label for '{part}' in '{self.artifact.path}'.{nearest(part, self.names())}"
            )
        return self.by_part[part]

    def best(self, part: str) -> Label:
        """A model's label where there is one, else the statistical one."""
        labels = self.of(part)
        return next((label for label in reversed(labels) if label.source != STATISTICAL), labels[0])

    def words(self, part: str) -> str:
        """The best label's words, inert and at most SHOWN characters of them, or nothing where there is no label."""
        return clipped(self.best(part).label, SHOWN) if part in self.by_part else ""


def open_labels(path: Path | str, harvest: str | None = None) -> Labels:
    """Open labels; with `harvest` (a fingerprint) refuse those made from another harvest."""
    artifact = open_artifact(path, KIND)
    made_from = artifact.provenance.get("harvest")
    if harvest is not None and made_from != harvest:
        raise RankOneError(
            f"the labels '{path}' were made from another harvest ({str(made_from)[:12]}…, this one is {harvest[:12]}…). "
            "Label this harvest with `rankone label`, or give the one they were made from."
        )
    by_part: dict[str, list[Label]] = {}
    with reading(artifact.path):
        for row in artifact.table(TABLE).read().select(_SCHEMA.names).cast(_SCHEMA).to_pylist():
            scores = dict(row.pop("scores"))
            label = Label(**row, scores=scores)
            by_part.setdefault(label.part, []).append(label)
    return Labels(artifact, by_part)
