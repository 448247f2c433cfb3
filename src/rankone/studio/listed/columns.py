"""The list of parts as columns: what the page holds of every part, kept as the very bytes that it is sent.

Made from a harvest and its labels (`made`), written as gzipped JSON; that of the built-in decomposition is shipped. The
server hands the file on without reading it, and so starts without PyTorch, NumPy or Arrow.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import ValidationError, model_validator

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
SHIPPED = ASSETS / "mini-parts.json.gz"
_LONGEST = 200


class Source(Record):
    """What the columns were counted on. artifact: fingerprint of the decomposition on disk; tokens: by domain."""

    artifact: str
    model: str
    text: str
    split: str
    firing: float
    tokens: dict[str, int]


class Rows(Record):
    """A value of some parts in each column, which is named as in one row; by_domain: a column for each of the domains.

    site, label_source: places in sites and label_sources of the whole list. density: share of tokens on
    which the part fires.
    """

    site: tuple[int, ...]
    number: tuple[int, ...]
    label: tuple[str, ...]
    label_source: tuple[int, ...]
    confidence: tuple[float, ...]
    density: tuple[float, ...]
    importance: tuple[float, ...]
    by_domain: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        lengths = {name: len(getattr(self, name)) for name in _COLUMNS}
        lengths |= {f"by_domain of place {i}": len(column) for i, column in enumerate(self.by_domain)}
        odd = [name for name, length in lengths.items() if length != len(self.number)]
        if odd:
            raise ValueError(f"{odd[0]} has {lengths[odd[0]]} values for {len(self.number)} parts")
        return self

    def at(self, places: Sequence[int]) -> Rows:
        """The rows at these places, in their order."""
        columns = {name: tuple(getattr(self, name)[i] for i in places) for name in (*_COLUMNS, "number")}
        return Rows(**columns, by_domain=tuple(tuple(of[i] for i in places) for of in self.by_domain))


_COLUMNS = ("site", "label", "label_source", "confidence", "density", "importance")


class PartColumns(Rows):
    """All parts, or none of a list that is sent in pages, with what their places stand for; names: of the domains."""

    source: Source
    sites: tuple[str, ...]
    label_sources: tuple[str, ...]
    domains: tuple[str, ...]
    names: dict[str, str]

    @model_validator(mode="after")
    def _one_column_a_domain(self) -> Self:
        if len(self.by_domain) != len(self.domains):
            raise ValueError(f"by_domain has {len(self.by_domain)} columns for {len(self.domains)} domains")
        return self

    def head(self) -> PartColumns:
        """The same without its rows."""
        return self.model_copy(update=dict(self.at(())))


class RowsView(Record):
    """Rows of the list that fit what was asked for, from `first` on. total: how many fit; all: parts of the list."""

    all: int
    total: int
    first: int
    rows: Rows


def made(store: HarvestStore, labels: Labelled, artifact: str) -> PartColumns:
    """Columns of every part of a harvest of subcomponents; artifact: fingerprint of the decomposition on disk."""
    store.require_subcomponents("the studio's list")
    about, firings, total = store.record, store.firings(), sum(store.tokens().values())
    shares = store.table("SELECT * FROM domains ORDER BY part")
    level = list(about.config.thresholds).index(about.config.firing)
    counts = shares[f"above_{level}"].to_numpy().reshape(len(firings), -1)
    best = [labels.best(name) for name in store.names()]
    places = [name.rpartition(":") for name in store.names()]
    sites = {site: i for i, site in enumerate(dict.fromkeys(site for site, _, _ in places))}
    sources = {source: i for i, source in enumerate(dict.fromkeys(b.source for b in best))}
    return PartColumns(
        source=Source(
            artifact=artifact,
            model=about.model.name,
            text=about.text.name,
            split=about.config.split,
            firing=about.config.firing,
            tokens=store.tokens(),
        ),
        sites=tuple(sites),
        site=tuple(sites[site] for site, _, _ in places),
        number=tuple(int(number) for _, _, number in places),
        label=tuple(clipped(b.label, _LONGEST) for b in best),
        label_sources=tuple(clipped(source, _LONGEST) for source in sources),
        label_source=tuple(sources[b.source] for b in best),
        confidence=tuple(_coarse(b.confidence) for b in best),
        density=tuple(_share(n / total) for n in firings),
        importance=tuple(_importance(v) for v in store.importances().overall().tolist()),
        domains=tuple(store.tokens()),
        names={domain: domain_name(domain) for domain in store.tokens()},
        by_domain=tuple(
            tuple(_share(n / tokens) for n in counts[:, place].tolist())
            for place, tokens in enumerate(store.tokens().values())
        ),
    )


# Mean importance up to which a part is dead.
DEAD = 1e-6


# The list travels whole, so numbers have the digits that are shown and ordered by, and no more.
def _share(value: float) -> float:
    """Of tokens, to a hundredth of a percent; what fires at all keeps a digit."""
    return float(f"{value:.1g}") if 0 < value < 1e-4 else float(f"{round(value, 4):.3g}")


def _importance(value: float) -> float:
    """Parts are ordered by it, and it is not shown."""
    return 0.0 if value <= DEAD else float(f"{value:.1g}") if value < 1e-3 else float(f"{value:.2g}")


def _coarse(value: float) -> float:
    """In quarters: parts are ordered by it, and it is not shown."""
    return round(value * 4) / 4


def parts_in(packed: bytes) -> int:
    """How many parts are in gzipped columns, told without reading them; 0 of anything else."""
    try:
        numbers = re.search(rb'"number":\[([^\]]*)\]', gzip.decompress(packed))
    except (OSError, EOFError, zlib.error):
        return 0
    return len(numbers[1].split(b",")) if numbers and numbers[1] else 0


def write_columns(columns: PartColumns, path: Path) -> None:
    """Write the gzipped JSON, whole or not at all."""
    with atomic_file(path) as file:
        file.write(gzip.compress(columns.model_dump_json().encode(), 9, mtime=0))


def read_columns(path: Path) -> PartColumns:
    """Read what `write_columns` wrote; RankOneError for any other file."""
    try:
        return PartColumns.model_validate_json(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error, ValidationError) as error:
        said = str(error).split("\n")[0]
        raise RankOneError(f"'{path}' holds no columns of parts ({said}). Make it again.") from error
