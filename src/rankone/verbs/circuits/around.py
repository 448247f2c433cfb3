"""What stands around a part over text: the parts that feed it, the heads it works in, and the parts that it looks with."""

from __future__ import annotations

from collections.abc import Sequence

from rankone.circuits.asking.relations import AttributionsRequest, QkReply, QkRequest
from rankone.circuits.records import RULES
from rankone.opening import Opening
from rankone.render.columns import Column
from rankone.render.tables import Table
from rankone.verbs.circuits.relating import any_row, edges_over_text, fed_by, pairs_over_text

SHOWN, HEADS = 8, 6


def around(
    opening: Opening, members: Sequence[str], domains: Sequence[str], tokens: int
) -> tuple[Table, ...]:
    """Tables of the sources of each part by both rules, of the heads that parts of attention work in, and of the pairs of
    query and key parts that they are in.

    tokens: of validation text per domain. RankOneError for models that graphs refuse.
    """
    asked = AttributionsRequest.model_validate(
        {"parts": tuple(members), "domains": tuple(domains), "tokens": tokens, "top": SHOWN}
    )
    sums = edges_over_text(opening, asked)
    fed = [fed_by(opening, asked.model_copy(update={"rule": rule}), sums) for rule in RULES]
    tables = [table for reply in fed for table in reply.tables()]
    return (*tables, *_heads(opening, members), *_pairs(opening, members, domains, tokens))


def _heads(opening: Opening, members: Sequence[str]) -> list[Table]:
    from rankone.circuits.attribution.cut import cut
    from rankone.circuits.heads import head_shares

    alone = cut(opening.model, any_row(opening)[:1], "frozen")
    rows = [
        [name, role, _largest([float(share) for share in shares])]
        for name in members
        for role, shares in head_shares(alone, opening.decomposition, name).items()
    ]
    columns = [Column("part", key=True), Column("of", priority=3), Column("heads", priority=4)]
    caption = (
        "share of the squared norm: what is written of queries, keys and values, what the output matrix reads"
    )
    return [Table.of("In which heads", columns, rows, caption)] if rows else []


def _largest(shares: Sequence[float]) -> str:
    """`2 (61%), 0 (20%)`: heads by size, those of a hundredth and more."""
    order = sorted(range(len(shares)), key=lambda head: -shares[head])[:HEADS]
    return ", ".join(f"{head} ({shares[head]:.0%})" for head in order if shares[head] >= 0.01)


def _pairs(opening: Opening, members: Sequence[str], domains: Sequence[str], tokens: int) -> list[Table]:
    from rankone.circuits.attribution.cut import cut
    from rankone.circuits.qk import attended, behind_scores
    from rankone.models.anatomy import layer_number

    first, made = cut(opening.model, any_row(opening), "frozen"), list[Table]()
    sites = {name: opening.decomposition.locate(name)[0] for name in members}
    for layer in sorted({layer_number(site) for site in sites.values()}):
        behind = behind_scores(first, layer)
        among = [name for name, site in sites.items() if site in behind]
        if not among:
            continue
        maps = attended(first, layer)
        asked = QkRequest.model_validate(
            {"layer": layer, "domains": tuple(domains), "tokens": tokens, "top": SHOWN}
        )
        rows = pairs_over_text(opening, asked, maps, among)
        reply = QkReply(layer=layer, heads=maps.heads, prompt=None, rows=tuple(rows), explained=None)
        made.extend(reply.tables())
    return made
