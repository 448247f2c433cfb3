"""The list of parts as the rows of pages: by site, by domain, and which parts get a page of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rankone.studio.listed.columns import PartColumns


@dataclass(frozen=True)
class Row:
    """A part in a list. file: its page from the root of the folder, or '' where it has none; shares: by domain."""

    name: str
    label: str
    density: float
    importance: float
    shares: tuple[float, ...]
    file: str


def file_of(name: str) -> str:
    """Where a part's page lies; names of parts are letters, digits, '.', '_', ':' and '/'."""
    return f"parts/{''.join(c if c.isalnum() or c in '._-' else '-' for c in name)}.html"


@dataclass(frozen=True)
class Listed:
    """The columns, labels that were corrected by hand, and the parts that have a page."""

    columns: PartColumns
    corrected: Mapping[str, str]
    paged: frozenset[str]

    def row(self, place: int) -> Row:
        """One part."""
        held = self.columns
        name = self.name(place)
        return Row(
            name=name,
            label=self.corrected.get(name, held.label[place]),
            density=held.density[place],
            importance=held.importance[place],
            shares=tuple(of[place] for of in held.by_domain),
            file=file_of(name) if name in self.paged else "",
        )

    def name(self, place: int) -> str:
        """A part's name."""
        return name_of(self.columns, place)

    def of_site(self, site: int) -> list[Row]:
        """Parts of a site that ever fire, those that fire most first."""
        held = self.columns
        here = [i for i, s in enumerate(held.site) if s == site and held.density[i]]
        return [self.row(i) for i in sorted(here, key=lambda i: -held.density[i])]


def name_of(columns: PartColumns, place: int) -> str:
    """The name of the part in a row."""
    return f"{columns.sites[columns.site[place]]}:{columns.number[place]}"


def most_selective(columns: PartColumns, domain: int, count: int) -> list[int]:
    """Rows of the parts that fire on a domain most beyond all others: share there less the largest share elsewhere."""
    shares = columns.by_domain[domain]
    others: Sequence[tuple[float, ...]] = [of for d, of in enumerate(columns.by_domain) if d != domain]
    excess = [share - max((of[i] for of in others), default=0.0) for i, share in enumerate(shares)]
    order = sorted(range(len(shares)), key=lambda i: -excess[i])[:count]
    return [i for i in order if excess[i] > 0]
