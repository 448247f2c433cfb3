"""The tables of a portrait, the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Sequence

from rankone.decomposition.directions import DirectionRow
from rankone.harvest.reading.page import TokenRow, most_informative
from rankone.render.columns import BAR, TOKEN, Column
from rankone.render.tables import Table
from rankone.show.portrait import DIRECTIONS, LEAST_COSINE, Portrait
from rankone.text.domains import domain_name

_SHARE = Column("of the component's firings", ".1%")
_COFIRING = 12
NEAREST = (
    f"By |cosine|, from {LEAST_COSINE:g} on; read its sign with that of v·x. Norms between are left out."
)


def members(shown: Portrait, top: int | None = None) -> Table | None:
    """The subcomponents of a component, or the first `top`, the one that fires most first."""
    members = shown.page.members
    if not members:
        return None
    rest = f", the first {top}" if top is not None and len(members) > top else ""
    rows = [[r.subcomponent, r.firings, r.share, r.share] for r in members[:top]]
    note = "The component fires where any member does; its activation is the root of the sum of squares of theirs."
    return Table.of(
        f"Its {len(members)} members{rest}",
        ["subcomponent", "firings", Column(" ", BAR, priority=0), _SHARE],
        rows,
        note,
    )


def domains(shown: Portrait) -> Table:
    """Where it fires."""
    columns = [
        *("domain", Column("density", ".2%", priority=3), Column(" ", BAR)),
        *(
            Column("mean importance", ".4f"),
            Column("mean activation", "+.3f"),
            Column("lift", ".2f", priority=2),
        ),
        Column("tokens", priority=0),
    ]
    rows = [
        [domain_name(r.domain), r.density, r.density, r.mean_importance, r.mean_activation, r.lift, r.tokens]
        for r in shown.domains
    ]
    return Table.of("Where", columns, rows)


def inputs(shown: Portrait, top: int) -> Table:
    """The tokens it fires on."""
    return _tokens("Fires on", shown.page.input_tokens, top, Column("firings", ",.0f"))


def outputs(shown: Portrait, top: int) -> Table:
    """The tokens that the model predicts where it fires."""
    return _tokens(
        "Leads to (what the model predicts there)",
        shown.page.output_tokens,
        top,
        Column("probability mass", ".1f"),
    )


def _tokens(title: str, tokens: Sequence[TokenRow], top: int, weight: Column) -> Table:
    columns = [
        Column("token", TOKEN),
        Column("PMI", ".2f"),
        weight,
        Column("precision", ".1%"),
        Column("recall", ".1%"),
    ]
    rows = [[r.text, r.pmi, r.weight, r.precision, r.recall] for r in most_informative(tokens, top)]
    note = "By weight × PMI (nats). Precision: share of its firings; recall: share of all occurrences."
    return Table.of(title, columns, rows, note)


def cofiring(shown: Portrait) -> Table:
    """What fires together with it."""
    rows = [
        [r.part, r.jaccard, r.joint, shown.named.get(r.part, "")] for r in shown.page.cofiring[:_COFIRING]
    ]
    return Table.of("Fire together with it", ["part", Column("Jaccard", ".2f"), "together", "label"], rows)


def directions(shown: Portrait) -> list[Table]:
    """Its neighbours by direction, one table per kind."""
    return [
        _directions(DIRECTIONS[key].capitalize(), rows, shown.named) for key, rows in shown.directions.items()
    ]


def _directions(title: str, near: Sequence[DirectionRow], named: dict[str, str]) -> Table:
    rows = [[r.part, r.cosine, named.get(r.part, "")] for r in near]
    return Table.of(title, ["part", Column("cosine", "+.2f"), "label"], rows)


def response(shown: Portrait) -> Table | None:
    """The rise of every domain by α, where it was measured."""
    if shown.response is None:
        return None
    rows = shown.response.rows
    names = list(dict.fromkeys(row.domain for row in rows))
    rises = {(row.alpha, row.domain): row.rise for row in rows}
    made = [[a, *(rises[a, d] for d in names)] for a in dict.fromkeys(row.alpha for row in rows)]
    title = f"Rise of cross-entropy by α ({shown.response.tokens:,} validation tokens each)"
    return Table.of(title, [Column("α", "g"), *(Column(domain_name(d), "+.3f") for d in names)], made)
