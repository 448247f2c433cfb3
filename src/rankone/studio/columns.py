"""The list of parts as columns: what the page holds of every part, read without PyTorch in a fraction of a second.

Made from a harvest and its labels (`made`), kept as one Parquet file; that of the built-in decomposition is shipped.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue, ValidationError

from rankone.core.config import Record
from rankone.core.errors import RankOneError
from rankone.core.escaping import clipped
from rankone.core.files import atomic_file
from rankone.models.sources.names import ASSETS
from rankone.text.domains import domain_name

if TYPE_CHECKING:
    from rankone.harvest.reading.store import HarvestStore
    from rankone.labels.label import Labelled

# Those of the built-in decomposition, made by perf/studio_parts.py.
SHIPPED = ASSETS / "mini-parts.parquet"
_META = b"rankone"
_LONGEST = 200


class Source(Record):
    """What the columns were counted on. artifact: fingerprint of the decomposition on disk; tokens: by domain."""

    artifact: str
    model: str
    text: str
    split: str
    firing: float
    tokens: dict[str, int]


@dataclass(frozen=True)
class PartColumns:
    """Rows: site, number, label, confidence, label_source, density, importance, and density_DOMAIN of every domain."""

    source: Source
    table: pa.Table

    def packed(self) -> bytes:
        """Gzipped JSON for the page: sites and label sources by place, numbers short."""
        columns = self.table.to_pydict()
        sites = list(dict.fromkeys(columns["site"]))
        sources = list(dict.fromkeys(columns["label_source"]))
        places, kinds = {s: i for i, s in enumerate(sites)}, {s: i for i, s in enumerate(sources)}
        domains = list(self.source.tokens)
        made: dict[str, JsonValue] = {
            "source": self.source.plain(),
            "sites": list(sites),
            "site": [places[s] for s in columns["site"]],
            "number": columns["number"],
            "label": [clipped(label, _LONGEST) for label in columns["label"]],
            "label_sources": [clipped(source, _LONGEST) for source in sources],
            "label_source": [kinds[s] for s in columns["label_source"]],
            "confidence": [round(v, 2) for v in columns["confidence"]],
            "density": [_short(v) for v in columns["density"]],
            "importance": [_short(v) for v in columns["importance"]],
            "domains": list(domains),
            "names": {domain: domain_name(domain) for domain in domains},
            "by_domain": [[_short(v) for v in columns[f"density_{d}"]] for d in domains],
        }
        return gzip.compress(json.dumps(made, separators=(",", ":")).encode(), 6, mtime=0)


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def made(store: HarvestStore, labels: Labelled, artifact: str) -> PartColumns:
    """Columns of every part of a harvest of subcomponents; artifact: fingerprint of the decomposition on disk."""
    store.require_subcomponents("the studio's list")
    about, firings, total = store.record, store.firings(), sum(store.tokens().values())
    means = store.importances().overall().tolist()
    shares = store.table("SELECT * FROM domains ORDER BY part")
    level = list(about.config.thresholds).index(about.config.firing)
    counts = shares[f"above_{level}"].to_numpy().reshape(len(firings), -1)
    best = [labels.best(name) for name in store.names()]
    places = [name.rpartition(":") for name in store.names()]
    columns: dict[str, object] = {
        "site": [site for site, _, _ in places],
        "number": pa.array([int(number) for _, _, number in places], pa.int32()),
        "label": [clipped(b.label, _LONGEST) for b in best],
        "label_source": [b.source for b in best],
        "confidence": pa.array([round(b.confidence, 2) for b in best], pa.float32()),
        "density": pa.array([float(f"{n / total:.3g}") for n in firings], pa.float32()),
        "importance": pa.array([float(f"{v:.3g}") for v in means], pa.float32()),
    }
    for place, (domain, tokens) in enumerate(store.tokens().items()):
        columns[f"density_{domain}"] = pa.array(
            [float(f"{n / tokens:.3g}") for n in counts[:, place]], pa.float32()
        )
    source = Source(
        artifact=artifact,
        model=about.model.name,
        text=about.text.name,
        split=about.config.split,
        firing=about.config.firing,
        tokens=store.tokens(),
    )
    return PartColumns(source, pa.table(columns))


def write_columns(columns: PartColumns, path: Path) -> None:
    """Write the Parquet file, whole or not at all."""
    table = columns.table.replace_schema_metadata({_META: columns.source.model_dump_json().encode()})
    with atomic_file(path) as file:
        pq.write_table(table, file, compression="zstd", compression_level=19, version="2.6")


def read_columns(path: Path) -> PartColumns:
    """Read what `write_columns` wrote; RankOneError for any other file."""
    try:
        table = pq.read_table(path)
        source = Source.model_validate_json((table.schema.metadata or {})[_META])
        needed = {"site", "number", "label", "label_source", "confidence", "density", "importance"}
        missing = (needed | {f"density_{d}" for d in source.tokens}) - set(table.column_names)
        if missing:
            raise KeyError(sorted(missing)[0])
    except (OSError, KeyError, ValidationError, pa.ArrowException) as error:
        raise RankOneError(f"'{path}' holds no columns of parts ({error}). Make it again.") from error
    return PartColumns(source, table)
