"""A rewrite: where the part fires, the write vectors tried on validation text, the one that is taken on test text."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.rewriting.direction import Direction, token_direction
from rankone.edits.rewriting.firing import Firing, firing, joined, threshold_of
from rankone.edits.rewriting.requests import RewriteRequest, WriteEffect
from rankone.edits.rewriting.rewrite import base_logits, effect, probability, rewritten, sized
from rankone.edits.rewriting.training import trained
from rankone.models.anatomy import writes_residual
from rankone.parts.book import Book
from rankone.subject import Subject
from rankone.text.vocabulary import require_tokens, spelled


class Rewritten(NamedTuple):
    """The edit that was taken and how it came about; `before`: probability of the token as the model is."""

    edit: LowRankEdit
    direction: Direction | None
    places: Firing
    before: float
    tried: list[WriteEffect]
    taken: WriteEffect
    held_out: WriteEffect


def rewrite(subject: Subject, book: Book, request: RewriteRequest) -> Rewritten:
    """Let a part write a token; nothing of the model is changed.

    Raises RankOneError for an unknown part or token, a part that does not write to the residual stream (train it), and
    where no direction raises the token.
    """
    tokens = require_tokens(request.token, spelled(subject.tokenizer))
    site, _ = book.locate(request.part)
    if request.train == 0:
        _require_stream(subject, book, request.part, site)
    places = _places(subject, book, request, "validation", None)
    base = base_logits(subject.model, places)
    index = torch.tensor(tokens, device=subject.device)
    direction = None
    if request.train:
        learnt = _places(subject, book, request, "train", threshold_of(places))
        edits = [(None, _trained(subject, book, request, learnt, tokens))]
    else:
        direction = token_direction(subject.model, tokens[0], places.text.ids[:8])
        edits = _sized(book, request, direction, places.sign)
    tried = [effect(subject.model, edit, places, base, index, size) for size, edit in edits]
    best = _choice(tried, request.aim)
    edit = edits[best][1]
    held_out = _held_out(subject, book, request, places, edit, index, edits[best][0])
    before = probability(base, places, index)
    return Rewritten(edit, direction, places, before, tried, tried[best], held_out)


def _require_stream(subject: Subject, book: Book, part: str, site: str) -> None:
    width = subject.model.get_input_embeddings().get_parameter("weight").shape[1]
    if not writes_residual(site, len(book.vectors(part).u), width):
        raise RankOneError(
            f"'{part}' does not write to the residual stream, where tokens have directions. Take a part of an output "
            "(o_proj, down_proj, …), or train its write vector: --train N."
        )


def _places(
    subject: Subject, book: Book, request: RewriteRequest, split: str, threshold: tuple[int, float] | None
) -> Firing:
    text = joined(list(subject.text(subject.corpus.domains(), split, request.tokens).values()))
    site, _ = book.locate(request.part)
    return firing(subject.model, site, book.vectors(request.part).v, text, request.fires, threshold)


def _sized(
    book: Book, request: RewriteRequest, direction: Direction, sign: int
) -> list[tuple[float | None, LowRankEdit]]:
    def named(size: float) -> LowRankEdit:
        write = sized(book, request.part, direction.vector, sign, size)
        return rewritten(book, request.part, write, f"{request.part} writes {request.token!r}, size {size:g}")

    return [(size, named(size)) for size in request.sizes]


def _trained(
    subject: Subject, book: Book, request: RewriteRequest, places: Firing, tokens: list[int]
) -> LowRankEdit:
    base = base_logits(subject.model, places)
    write = trained(
        subject.model, book, request.part, places, base, tokens, request.train, request.weight, request.seed
    )
    return rewritten(book, request.part, write, f"{request.part} writes {request.token!r}, trained")


def _choice(tried: list[WriteEffect], aim: float) -> int:
    """The first that meets the aim, by rising size; else the likeliest."""
    order = sorted(range(len(tried)), key=lambda i: abs(tried[i].size or 0.0))
    met = [i for i in order if tried[i].probability >= aim]
    return met[0] if met else max(range(len(tried)), key=lambda i: tried[i].probability)


def _held_out(
    subject: Subject,
    book: Book,
    request: RewriteRequest,
    places: Firing,
    edit: LowRankEdit,
    index: Int[Tensor, " k"],
    size: float | None,
) -> WriteEffect:
    unseen = _places(subject, book, request, "test", threshold_of(places))
    return effect(subject.model, edit, unseen, base_logits(subject.model, unseen), index, size)
