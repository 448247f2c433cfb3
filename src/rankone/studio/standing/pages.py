"""The pages of the folder: Jinja2 like all others; no script but one that filters a list, which its hash alone allows."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence

from rankone.metrics.damage_record import DomainDamage
from rankone.render.columns import SHARE, Column
from rankone.render.figures import Drawing
from rankone.render.pages import POLICY, rendered
from rankone.render.tables import Table
from rankone.show.portrait import Response
from rankone.show.web import response_curves
from rankone.studio.kept.graphs import ListedGraph
from rankone.studio.kept.journal import Entry
from rankone.studio.listed.columns import PartColumns, Source
from rankone.studio.shelf import Shelved
from rankone.studio.standing.rows import Listed, Row, most_selective
from rankone.studio.views.worker import PartView
from rankone.text.domains import domain_name

# Hides the rows that lack what was typed; without scripts the field is not shown and the list is whole.
FILTER = """const field = document.querySelector("input"), rows = [...document.querySelectorAll("tbody tr")];
const texts = rows.map((row) => row.textContent.toLowerCase());
document.querySelector("label").hidden = false;
field.addEventListener("input", () => {
  const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  rows.forEach((row, i) => { row.hidden = !words.every((word) => texts[i].includes(word)); shown += row.hidden ? 0 : 1; });
  document.querySelector("output").textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
});"""
_HASH = base64.b64encode(hashlib.sha256(FILTER.encode()).digest()).decode()
FILTER_POLICY = f"{POLICY}; script-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
TOP = 100
# Rows of a list's page: with eight domains some 700 kB.
ROWS = 2000


def list_pages(title: str, rows: Sequence[Row], listed: Listed, stem: str) -> Iterator[str]:
    """Parts in tables of at most ROWS, each with a field that filters it; files as `numbered` names them."""
    starts = range(0, max(1, len(rows)), ROWS)
    for start in starts:
        here = rows[start : start + ROWS]
        others = [
            (f"{other + 1:,} to {min(other + ROWS, len(rows)):,}", numbered(stem, i), other == start)
            for i, other in enumerate(starts)
        ]
        yield _list_page(title, here, listed, others if len(others) > 1 else [])


def numbered(stem: str, number: int) -> str:
    """The file of a list's page, counted from 0; the first has the list's own name."""
    return f"{stem}-{number + 1}.html" if number else f"{stem}.html"


def _list_page(
    title: str, rows: Sequence[Row], listed: Listed, others: Sequence[tuple[str, str, bool]] = ()
) -> str:
    return rendered(
        "studio_list.html",
        title=title,
        policy=FILTER_POLICY,
        script=FILTER,
        up="../",
        rows=rows,
        others=others,
        domains=[domain_name(domain) for domain in listed.columns.domains],
        said=f"{_seen_on(listed.columns.source)}. "
        "Shares of tokens on which a part fires: of all text, and of each domain; a label says that of the text it names",
    )


def _seen_on(source: Source) -> str:
    seen = sum(source.tokens.values())
    return f"seen on {seen:,} tokens of {source.text}, {source.split} split; firing: importance over {source.firing:g}"


def domain_page(listed: Listed, domain: int) -> str:
    """The parts that fire on a domain most beyond all others."""
    rows = [listed.row(i) for i in most_selective(listed.columns, domain, TOP)]
    name = domain_name(listed.columns.domains[domain])
    return _list_page(f"Parts that fire most on {name}", rows, listed)


def index_page(
    facts: Mapping[str, str],
    sites: Sequence[tuple[str, str, int]],
    domains: Sequence[tuple[str, str]],
    edits: int,
    shelved: Sequence[Shelved],
    graphs: Sequence[ListedGraph],
) -> str:
    """Where all begins. sites: (name, file, parts that fire); domains: (name, file)."""
    return rendered(
        "studio_index.html",
        title="RankOne: a workspace",
        facts=list(facts.items()),
        sites=sites,
        domains=domains,
        edits=edits,
        shelved=shelved,
        graphs=graphs,
    )


def edits_page(
    entries: Sequence[Entry],
    current: int | None,
    rises: Mapping[int, Sequence[DomainDamage]],
    files: Mapping[str, str],
) -> str:
    """Every kept edit with its scales and what it does. files: pages of parts by name."""
    shown = [
        (entry, [(n, a, files.get(n, "")) for n, a in entry.scales.items()], _moved(rises[entry.seq]))
        for entry in reversed(entries)
    ]
    return rendered("studio_edits.html", title="Edits that were kept", shown=shown, current=current)


def _moved(damages: Sequence[DomainDamage]) -> Table:
    columns = [
        Column("domain", key=True),
        Column("CE before", ".3f"),
        Column("CE after", ".3f"),
        Column("rise", "+.3f", priority=3),
        Column("± 95%", ".3f"),
    ]
    rows = [
        [domain_name(d.domain), d.base, d.edited, d.rise, None if d.high is None else d.high - d.rise]
        for d in damages
    ]
    tokens = max((d.tokens for d in damages), default=0)
    return Table.of(
        "", columns, rows, f"validation text, up to {tokens:,} tokens per domain scored, nats per token"
    )


def part_page(
    row: Row | None,
    name: str,
    columns: PartColumns | None,
    view: PartView,
    response: Response | None,
    instead: str | None,
) -> str:
    """A part of which no harvest is open: what the list says, its neighbours, its response if an edit turns it."""
    near = [
        Table.of(
            title, [Column("part", key=True), Column("cosine", "+.2f")], [[n.part, n.value] for n in rows]
        )
        for title, rows in view.directions.items()
    ]
    fires = None
    if row is not None and columns is not None:
        shares = [Column("domain", key=True), Column("share of tokens it fires on", SHARE, shade=True)]
        names = [domain_name(d) for d in columns.domains]
        fires = Table.of("", shares, [[*one] for one in zip(names, row.shares, strict=True)])
    return rendered(
        "studio_part.html",
        title=name,
        row=row,
        instead=instead,
        fires=fires,
        seen=None if columns is None else _seen_on(columns.source),
        near=near,
        response=None if response is None else curves(name, response),
        rises=None if response is None else _responded(response),
    )


def curves(name: str, response: Response) -> Drawing:
    """The figure of a scale response."""
    domains = list(dict.fromkeys(r.domain for r in response.rows))
    domains.sort(key=lambda d: -max(r.rise for r in response.rows if r.domain == d))
    return response_curves(name, response, domains)


def _responded(response: Response) -> Table:
    domains = list(dict.fromkeys(r.domain for r in response.rows))
    alphas = list(dict.fromkeys(r.alpha for r in response.rows))
    rise = {(r.alpha, r.domain): r.rise for r in response.rows}
    columns = [Column("α", "g", key=True), *(Column(domain_name(d), "+.2f", shade=True) for d in domains)]
    return Table.of(
        "Rise, nats per token", columns, [[a, *(rise.get((a, d)) for d in domains)] for a in alphas]
    )


def contained(page: bytes) -> bytes:
    """A page of a result with our policy before anything of its own: on a static host no header says it."""
    meta = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}; img-src data:">'.encode()
    start, kind = page.lstrip(b"\xef\xbb\xbf \t\r\n"), b"<!doctype html>"
    rest = start[len(kind) :] if start[: len(kind)].lower() == kind else start
    return kind + meta + rest
