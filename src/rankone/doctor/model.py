"""The check-up of a model: that it loads, what can be decomposed or edited in it, and how its text is to be opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.core.errors import RankOneError
from rankone.doctor.finding import Finding, counted, note, ok, refused
from rankone.doctor.openers import opener_losses
from rankone.models.anatomy import bends_logits, fused_note
from rankone.models.context import context_length
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.sites import find_sites, left_out, shares_memory
from rankone.models.unembedding import unembedding_of
from rankone.subject import Subject
from rankone.text.corpus import Corpus
from rankone.text.openers import Opener, candidates, opener

TOKENS = 240
# Lines about a model whose weights are neither fused nor left out, the opener's apart.
CHECKS = 8
# Nats per token from which another opener is worth a word; plain text of a few hundred tokens resolves no less.
_WORTH = 0.01


def check_model(
    name: str, corpus: Corpus, tokens: int = TOKENS, device: torch.device | None = None
) -> Iterator[Finding]:
    """A built-in name, folder or Hub id; one line each, and no more than the refusal where it does not load.

    tokens: text per domain that openers are compared on. device: where that runs, None for the CPU.
    """
    subject = yield from counted(_opened(name, corpus, device), CHECKS)
    if subject is not None:
        yield _opener(subject, tokens)


def _opened(
    name: str, corpus: Corpus, device: torch.device | None
) -> Generator[Finding, None, Subject | None]:
    """All but the opener; returns what that is measured on, None where model or tokenizer was refused."""
    try:
        model = load_model(name)
    except RankOneError as error:
        yield refused("loads", error)
        return None
    model.to(device)  # pyright: ignore[reportArgumentType]
    yield ok("loads", f"{type(model).__name__}, {_parameters(model):,} parameters{_context(model)}")
    yield ok("weights", "all finite, none missing or left over, not quantised")
    yield ok("causal", "earlier predictions stay when the last token is another")
    yield _tied(model)
    yield from _sites(model)
    yield _head(model)
    try:
        tokenizer = load_tokenizer(name)
        subject = Subject(model, tokenizer, corpus)
    except RankOneError as error:
        yield refused("tokenizer", error)
        return None
    yield ok("tokenizer", f"{type(tokenizer).__name__}, {len(tokenizer):,} entries, fits the model")
    yield _chat(tokenizer)
    return subject


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _context(model: PreTrainedModel) -> str:
    length = context_length(model)
    return "" if length is None else f", reads {length:,} positions"


def _tied(model: PreTrainedModel) -> Finding:
    """Whether the unembedding is the embedding: no site then, and an edit of neither is possible alone."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    weights = [getattr(module, "weight", None) for module in (head, embedding)]
    tensors = [w for w in weights if isinstance(w, torch.Tensor)]
    if len(tensors) == 2 and shares_memory(*tensors):
        return note(
            "tied weights", "the unembedding is the embedding: neither is a site, the maps between them are"
        )
    return ok("tied weights", "none: embedding and unembedding are apart")


def _sites(model: PreTrainedModel) -> Iterator[Finding]:
    try:
        sites = find_sites(model)
    except RankOneError as error:
        yield refused("sites", error)
        return
    yield ok(
        "sites", f"{len(sites)} weight matrices can be decomposed and edited; `rankone sites` lists them"
    )
    fused = Counter(said for site in sites if (said := fused_note(site.name)))
    for said, count in fused.items():
        yield note("fused", f"{count} sites hold {said}: one part may write to all of them")
    for reason, count in Counter(left_out(model).values()).items():
        yield note("left out", f"{count} weights: {reason}")


def _head(model: PreTrainedModel) -> Finding:
    if not isinstance(getattr(model.get_output_embeddings(), "weight", None), torch.Tensor):
        return note("unembedding", "no linear output layer: nothing can be ranked by tokens")
    if bends_logits(model.config.get_text_config()):
        return note(
            "unembedding",
            "logits are scaled or capped after it: effects on logits are not read off the weights",
        )
    try:
        unembedding_of(model)
    except RankOneError as error:
        return note("unembedding", str(error))
    return ok("unembedding", "a linear map that the logits follow; tokens can be ranked by")


def _chat(tokenizer: PreTrainedTokenizerBase) -> Finding:
    if tokenizer.chat_template:
        return note("chat template", "there is one", "Ask it in turns: generate --chat.")
    return ok("chat template", "none: a model of plain text")


def _opener(subject: Subject, tokens: int) -> Finding:
    """The opener that is used, beside the others, by cross-entropy on a little text."""
    try:
        used, tried = opener(subject.tokenizer), candidates(subject.tokenizer)
        return judged(used, opener_losses(subject, tried, tokens))
    except RankOneError as error:
        return refused("opener", error)


def judged(used: Opener, measured: Mapping[str, float]) -> Finding:
    """Whether the opener in use is (nearly) the best of those measured, mean cross-entropy by the token's text."""
    figures = ", ".join(f"{token or 'nothing'} {ce:.3f}" for token, ce in measured.items())
    said = f"rows of text start with {used.token or 'nothing'} ({used.why}); mean CE by opener: {figures}"
    best = min(measured, key=lambda token: measured[token])
    if measured[used.token] - measured[best] <= _WORTH:
        return ok("opener", said)
    return note(
        "opener", said, f"Text is better read after {best or 'nothing'}: choose it as the opener in Python."
    )
