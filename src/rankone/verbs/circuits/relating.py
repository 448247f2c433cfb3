"""Verbs of what parts do to each other: qk, attributions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from rankone.circuits.asking.relations import (
    AttributionRow,
    AttributionsReply,
    AttributionsRequest,
    QkReply,
    QkRequest,
    QkRow,
)
from rankone.core.errors import RankOneError
from rankone.opening import Opening
from rankone.verbs.verb import Verb

if TYPE_CHECKING:
    from torch import Tensor

    from rankone.circuits.attribution.cut import Cut
    from rankone.circuits.dataset import Sums
    from rankone.circuits.qk import Attended

# Tokens of the row that positions' maps are read off.
LENGTH = 32


def qk(opening: Opening, request: QkRequest) -> QkReply:
    """Show which pairs of query and key parts decide where a layer attends, over text or on one prompt."""
    from rankone.circuits.attribution.cut import cut
    from rankone.circuits.build import prompt_ids
    from rankone.circuits.qk import attended

    model = opening.model
    if request.prompt is None:
        row = any_row(opening, request.distances)
    else:
        row = prompt_ids(model, opening.tokenizer, request.prompt)
        if len(row) < 2:
            raise RankOneError(
                "the prompt is one token long, and that attends only to itself. Give at least two tokens."
            )
    first = cut(model, row, "frozen")
    maps = attended(first, request.layer)
    rows, explained = (
        (pairs_over_text(opening, request, maps), None)
        if request.prompt is None
        else _on_prompt(opening, request, row, first, maps)
    )
    return QkReply(
        layer=request.layer,
        heads=maps.heads,
        prompt=request.prompt,
        rows=tuple(rows),
        explained=explained,
        out=request.out,
    ).written_to(request.out)


def any_row(opening: Opening, least: int = 1) -> Tensor:
    """A row of tokens, to read positions' maps off: what they are does not matter but for norms of queries and keys.

    least: how many positions there must be; RankOneError for more than a row of text has.
    """
    corpus, length = opening.corpus, max(LENGTH, least)
    row = opening.bare.blocks(corpus.domains()[0], "validation", length).ids[0][:length]
    if len(row) < least:
        raise RankOneError(
            f"a row of this text has {len(row)} positions: give --distances {len(row)} or less."
        )
    return row


def pairs_over_text(
    opening: Opening, request: QkRequest, maps: Attended, among: Collection[str] | None = None
) -> list[QkRow]:
    """The strongest pairs over text; among: of those, the ones in which one of these parts is."""
    import torch

    from rankone.circuits.qk import static_table
    from rankone.circuits.signs import mean_signs

    parts = opening.decomposition
    domains = request.domains or tuple(opening.corpus.domains())
    text = opening.bare.text(domains, "validation", request.tokens)
    signs = mean_signs(opening.model, parts, [maps.query, maps.key], text.values())
    table = static_table(maps, parts, (signs[maps.query], signs[maps.key]), request.distances)
    if among is not None:
        queries, keys = (
            torch.tensor([f"{site}:{int(n)}" in among for n in parts.indices[site]], device=table.device)
            for site in (maps.query, maps.key)
        )
        table = table * (queries[:, None] | keys)
    return _strongest(opening, maps, table, request.top)


def _on_prompt(
    opening: Opening, request: QkRequest, ids: Tensor, first: Cut, maps: Attended
) -> tuple[list[QkRow], float]:
    from rankone.circuits.qk import contrasted, scored

    said = scored(first, maps, opening.decomposition)
    pairs = contrasted(said.pairs)
    rows = _strongest(opening, maps, pairs, request.top, ids)
    whole = said.whole - said.whole.mean(1, keepdim=True)
    left = whole - pairs.sum((2, 3))
    return rows, float(1 - left.square().sum() / whole.square().sum().clamp_min(1e-30))


def _strongest(
    opening: Opening, maps: Attended, values: Tensor, top: int, ids: Tensor | None = None
) -> list[QkRow]:
    """Rows of the largest values [heads, distance or position, queries, keys]; ids: the prompt's, for its positions."""
    from rankone.circuits.qk import strongest_pairs
    from rankone.text.vocabulary import spelling

    indices = opening.decomposition.indices
    return [
        QkRow(
            query=f"{maps.query}:{int(indices[maps.query][q])}",
            key=f"{maps.key}:{int(indices[maps.key][k])}",
            head_number=head,
            where=where,
            token=None if ids is None else spelling(opening.tokenizer, int(ids[where])),
            value=float(values[head, where, q, k]),
        )
        for head, where, q, k in strongest_pairs(values, top)
    ]


def attributions(opening: Opening, request: AttributionsRequest) -> AttributionsReply:
    """Show what feeds chosen parts over text: sums of edges by source part and domain, by either rule."""
    return fed_by(opening, request, edges_over_text(opening, request)).written_to(request.out)


def edges_over_text(opening: Opening, request: AttributionsRequest) -> dict[str, Sums]:
    """By domain, by both rules."""
    from rankone.circuits.dataset import sums_over
    from rankone.runtime.progress import meter

    domains = request.domains or tuple(opening.corpus.domains())
    text = {d: opening.bare.blocks(d, "validation", request.tokens, request.length) for d in domains}
    with meter("attributions", sum(len(blocks.ids) for blocks in text.values())) as bar:
        return sums_over(opening.model, opening.decomposition, request.parts, text, bar)


def fed_by(opening: Opening, request: AttributionsRequest, sums: Mapping[str, Sums]) -> AttributionsReply:
    """The strongest sources of every part by the rule of the request."""
    import torch

    names, rows = opening.decomposition.names(), list[AttributionRow]()
    for k, part in enumerate(request.parts):
        values = {domain: one.scaled(request.rule)[k] for domain, one in sums.items()}
        size = torch.stack(list(values.values())).abs().sum(0)
        order: list[int] = size.argsort(descending=True)[: request.top].tolist()  # pyright: ignore
        for i in order:
            row = {domain: float(v[i]) for domain, v in values.items()}
            rows.append(AttributionRow(part=part, source=names[i], values=row))
    return AttributionsReply(
        rule=request.rule,
        tokens={d: one.tokens for d, one in sums.items()},
        rows=tuple(rows),
        out=request.out,
    )


_OPENED = ("model", "decomposition", "text", "device", "dtype")

VERBS = (
    Verb("qk", QkRequest, QkReply, qk, _OPENED, first="model", needs=("model",), writes=("out",)),
    Verb("attributions", AttributionsRequest, AttributionsReply, attributions, _OPENED, writes=("out",)),
)
