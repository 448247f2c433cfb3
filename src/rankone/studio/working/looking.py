"""What the page shows of a text and of a part: which parts matter at each token, and one part's portrait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.core.escaping import SHOWN, clipped, visible
from rankone.core.schemas.evidence import FILE
from rankone.decomposition.directions import DirectionRow, direction_neighbours
from rankone.decomposition.evidence.records import Evidence, read_outline
from rankone.decomposition.model import DecomposedModel
from rankone.harvest.reading.page import Example, TokenRow, most_informative
from rankone.labels.label import Label
from rankone.models.context import context_length
from rankone.models.sources.names import BUILTIN_DECOMPOSITION
from rankone.opening import Opening
from rankone.show.portrait import DIRECTIONS, Portrait, portrait, strongest
from rankone.studio.listed.columns import SHIPPED, read_columns
from rankone.studio.views.requests import ImportanceRequest, PromptRequest, TextRequest
from rankone.studio.views.worker import (
    DomainFigures,
    ExampleView,
    HarvestView,
    Importances,
    Important,
    Judged,
    LabelView,
    Near,
    PartView,
    PromptView,
    TextPage,
    TokenShare,
    TokenView,
)
from rankone.text.blocks import encode
from rankone.text.openers import opener_id
from rankone.text.vocabulary import spelling, with_neighbours

# Longest text that is looked into, in tokens; examples, tokens and neighbours on a part's page.
MAX_TOKENS, EXAMPLES, TOKENS, NEIGHBOURS = 2048, 20, 15, 8
# Characters of a page of what is cut: at most 64 kB.
PAGE = 16_000


def look_into(
    opening: Opening, request: PromptRequest, usual: Float[Tensor, " parts"] | None = None
) -> PromptView:
    """Causal importances at every token of a text; RankOneError without a decomposition, and for a text too long.

    The parts of a token are those whose importance exceeds its mean over the text that was harvested by most: some hundred
    matter at any token, most of them everywhere. usual: those means (`usual_importances`).
    """
    ids, importance = _importance(opening, request.text)
    decomposition, tokenizer = opening.workspace.decomposition, opening.tokenizer
    names, by_site = decomposition.names(), importance.split(decomposition.counts, dim=-1)
    sums = torch.stack([site.sum(-1) for site in by_site], dim=-1).tolist()
    unusual = importance if usual is None else importance - usual.to(importance)
    places = unusual.topk(min(request.top, importance.shape[1]), dim=-1).indices
    values = importance.gather(-1, places)
    views = []
    for token, site_sums, strong, where in zip(ids, sums, values.tolist(), places.tolist(), strict=True):
        top = [
            Important(part=names[place], importance=value)
            for value, place in zip(strong, where, strict=True)
            if value > request.threshold
        ]
        views.append(
            TokenView(text=visible(spelling(tokenizer, token)), sums=tuple(site_sums), top=tuple(top))
        )
    return PromptView(sites=tuple(decomposition.sites), tokens=tuple(views))


def importances_at(opening: Opening, request: ImportanceRequest) -> Importances:
    """Of parts that are named at another token; errors as of `look_into`, and for a part or a token that is none."""
    ids, importance = _importance(opening, request.text)
    if request.at >= len(ids):
        raise RankOneError(f"the text has {len(ids):,} tokens, counted from 0: none is {request.at}.")
    places = [opening.workspace.decomposition.column(name) for name in request.parts]
    return Importances(values=tuple(importance[request.at, places].tolist()))


def _importance(opening: Opening, text: str) -> tuple[list[int], Float[Tensor, "tokens parts"]]:
    """The ids of a text, and what every part matters at each."""
    (said,), first = encode(opening.tokenizer, [text]), opener_id(opening.tokenizer)
    ids = said if first is None else [first, *said]
    longest = min(MAX_TOKENS, context_length(opening.model) or MAX_TOKENS)
    if not 0 < len(ids) <= longest:
        raise RankOneError(f"the text has {len(ids):,} tokens; from 1 to {longest:,} can be looked into.")
    row = torch.tensor([ids], device=opening.model.device)
    with DecomposedModel(opening.model, opening.workspace.decomposition) as decomposed:
        return ids, decomposed.importance(row)[0]


def judged(opening: Opening) -> tuple[Judged, ...]:
    """The verdict that lies beside the decomposition, line by line; none where there is no decomposition or no evidence."""
    if opening.decomposition_name is None:
        return ()
    artifact = opening.decomposition_artifact
    if not (artifact.path / FILE).is_file():
        return ()
    evidence = read_outline(artifact.json(FILE), str(artifact.path / FILE))
    if not isinstance(evidence, Evidence):  # of an early version: measured, not judged
        return ()
    lists = {"property": evidence.verdict.properties, "failure": evidence.verdict.failures}
    return tuple(
        Judged.checked(
            {"of": of, "name": one.name.words, "met": one.met, "said": one.said, "bar": one.bar}, FILE
        )
        for of, findings in lists.items()
        for one in findings
    )


def usual_importances(opening: Opening) -> Float[Tensor, " parts"] | None:
    """Mean importance of every subcomponent over the text of the harvest, or of the shipped list; None without either."""
    store = opening.harvest_store
    if store is not None and not store.clusters:
        return store.importances().overall()
    if opening.decomposition_name == BUILTIN_DECOMPOSITION:
        return torch.tensor(read_columns(SHIPPED).importance)
    return None


def part_page(opening: Opening, name: str) -> PartView:
    """One part: where there is a harvest its portrait, the same that `rankone show` prints; RankOneError for no part."""
    store = opening.harvest_store
    width = int(opening.model.config.get_text_config().hidden_size)
    if store is not None:
        shown = portrait(store, name, opening.labels, opening.decomposition, width)
        return PartView(name=name, harvest=_harvested(shown), directions=_named(shown.directions))
    opening.book.locate(name)
    if "/" in name or opening.decomposition_name is None:
        return PartView(name=name, harvest=None, directions={})
    near = direction_neighbours(opening.decomposition, name, width, NEIGHBOURS)
    return PartView(name=name, harvest=None, directions=_named(near))


def _named(lists: Mapping[str, Sequence[DirectionRow]]) -> dict[str, tuple[Near, ...]]:
    return {
        DIRECTIONS[key]: tuple(Near(part=row.part, value=row.cosine) for row in rows)
        for key, rows in lists.items()
        if rows
    }


def _harvested(shown: Portrait) -> HarvestView:
    page = shown.page
    return HarvestView(
        source=shown.source,
        tokens=page.tokens,
        firings=page.firings,
        domains=tuple(
            DomainFigures(
                domain=row.domain,
                tokens=row.tokens,
                density=row.density,
                importance=row.mean_importance,
                activation=row.mean_activation,
                lift=row.lift,
            )
            for row in shown.domains
        ),
        labels=tuple(_label(label) for label in shown.labels),
        inputs=_shares(page.input_tokens),
        outputs=_shares(page.output_tokens),
        cofiring=tuple(
            Near(part=row.part, value=row.jaccard, label=shown.named.get(row.part, ""))
            for row in page.cofiring[:EXAMPLES]
        ),
        examples=tuple(_example(example) for example in strongest(page.examples, EXAMPLES)),
    )


def _label(label: Label) -> LabelView:
    whole = {name: visible(getattr(label, name)) for name in ("label", "source", "reasoning")}
    words = {name: clipped(text, SHOWN) for name, text in whole.items()}
    cut = {name: len(text) for name, text in whole.items() if len(text) > SHOWN}
    return LabelView(**words, confidence=label.confidence, scores=dict(label.scores), cut=cut)


def text_page(opening: Opening, request: TextRequest) -> TextPage:
    """What a label says, whole, a page at a time; RankOneError for a label or a page that is not there."""
    opening.book.locate(request.name)
    labels = [] if opening.labels is None else opening.labels.by_part.get(request.name, [])
    if request.label >= len(labels):
        raise RankOneError(
            f"'{request.name}' has {len(labels)} labels, counted from 0: none is {request.label}."
        )
    text = visible(getattr(labels[request.label], request.of))
    pages = max(1, -(-len(text) // PAGE))
    if request.page >= pages:
        raise RankOneError(f"the text has {pages} pages, counted from 0: none is {request.page}.")
    return TextPage(text=text[request.page * PAGE : (request.page + 1) * PAGE], pages=pages)


def _shares(rows: Sequence[TokenRow]) -> tuple[TokenShare, ...]:
    best = most_informative(rows, TOKENS)
    return tuple(TokenShare(token=visible(row.text), pmi=row.pmi, share=row.precision) for row in best)


def _example(example: Example) -> ExampleView:
    tokens = with_neighbours(example.tokens, example.centre)
    return ExampleView(
        domain=example.domain,
        centre=example.centre,
        tokens=tuple(visible(token)[:SHOWN] for token in tokens),
        importances=tuple(example.importances),
    )
