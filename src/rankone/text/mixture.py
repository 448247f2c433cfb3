"""Shuffled token rows from a weighted mixture of a corpus's domains, for training."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError, nearest
from rankone.runtime.progress import log
from rankone.text.blocks import chunk_documents, packed_stream
from rankone.text.corpus import CHARS_PER_TOKEN, Corpus, require_domain
from rankone.text.mix import DomainMix, Mixture
from rankone.text.sources.directory import DirectoryCorpus
from rankone.text.sources.joined import holding

CHUNK_CHARS = 1500


def mixture_pieces(
    corpus: Corpus,
    mixture: Mixture,
    tokens: int,
    rng: np.random.Generator,
    split: str = "train",
    without: tuple[str, ...] = (),
) -> dict[str, list[str]]:
    """Shuffled pieces of text per domain, enough for `tokens` tokens of the whole mixture.

    Each domain gets its share of the full mixture whether or not others are left out (`without`).
    """
    unknown = sorted(set(without) - set(mixture))
    if unknown:
        raise RankOneError(
            f"cannot leave out '{unknown[0]}': the mixture has {', '.join(mixture)}."
            f"{nearest(unknown[0], list(mixture))}"
        )
    if set(without) == set(mixture):
        raise RankOneError("the mixture has no domain (left): name one that has text and is not left out.")
    total = sum(mix.weight for mix in mixture.values())
    return {
        domain: _pieces(corpus, domain, mix, int(tokens * mix.weight / total * CHARS_PER_TOKEN), rng, split)
        for domain, mix in mixture.items()
        if domain not in without
    }


def _pieces(
    corpus: Corpus, domain: str, mix: DomainMix, chars: int, rng: np.random.Generator, split: str
) -> list[str]:
    """Equal characters from each source of a domain, shuffled."""
    require_domain(corpus, domain)
    corpus = holding(corpus, domain)
    if mix.sources is not None and not isinstance(corpus, DirectoryCorpus):
        raise RankOneError(
            f"'{domain}' is to be read from sources {mix.sources}, but the text '{corpus.name}' has none: only a folder of "
            "files does. Leave `sources` out."
        )
    if isinstance(corpus, DirectoryCorpus) and mix.sources is not None:
        unknown = sorted(set(mix.sources) - set(corpus.sources(domain)))
        if unknown:
            raise RankOneError(f"domain '{domain}' has no source {unknown}; it has {corpus.sources(domain)}.")
        per_source = [corpus.source_documents(domain, source, split) for source in mix.sources]
    else:
        per_source = [_in_order(corpus, domain, split)]
    return _equal_shares([chunk_documents(documents, CHUNK_CHARS) for documents in per_source], chars, rng)


def _in_order(corpus: Corpus, domain: str, split: str) -> list[str]:
    """All documents, source after source: the order that recipes of shipped models were drawn in."""
    if not isinstance(corpus, DirectoryCorpus):
        return corpus.documents(domain, split)
    return [d for s in corpus.sources(domain) for d in corpus.source_documents(domain, s, split)]


def _equal_shares(sources: list[list[str]], chars: int, rng: np.random.Generator) -> list[str]:
    """Shuffle, then take equal characters from each source; what a short one lacks falls to the others."""
    chosen: list[str] = []
    left = chars
    by_size = sorted(sources, key=lambda pieces: sum(map(len, pieces)))
    for index, pieces in enumerate(by_size):
        quota = left // (len(by_size) - index)
        for i in rng.permutation(len(pieces)):
            if quota <= 0:
                break
            chosen.append(pieces[i])
            quota -= len(pieces[i])
            left -= len(pieces[i])
    return [chosen[i] for i in rng.permutation(len(chosen))]


def mixture_rows(
    tokenizer: PreTrainedTokenizerBase,
    pieces: dict[str, list[str]],
    mixture: Mixture,
    tokens: int,
    context: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, "rows context"]:
    """Packed rows of all domains in shuffled order, about `tokens` tokens in the mixture's proportions.

    A domain that was left out is not made up for: the others get the tokens they get in the full mixture. One with
    less text than its share is used once, never repeated; that is said. Raises RankOneError for one without text for a row.
    """
    total = sum(mix.weight for mix in mixture.values())
    rows = []
    for domain, documents in pieces.items():
        wanted = int(tokens * mixture[domain].weight / total)
        stream = packed_stream(tokenizer, documents, wanted)
        if len(stream) < min(context, wanted):
            raise RankOneError(
                f"domain '{domain}' of the mixture has {len(stream)} tokens, less than one row of {context}. "
                "Give it more text, or leave it out of the mixture."
            )
        note = "" if len(stream) > 0.9 * wanted else f" of {wanted:,} wanted; used once, not repeated"
        log.info(f"  {domain}: {len(stream):,} tokens{note}")
        rows.append(stream[: len(stream) // context * context].reshape(-1, context))
    merged = np.concatenate(rows)
    if not len(merged):
        raise RankOneError(f"there is not enough text for one row of {context} tokens. Give more text.")
    return merged[rng.permutation(len(merged))]
