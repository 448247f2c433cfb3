"""The text of one domain as rows to measure on."""

from __future__ import annotations

from collections.abc import Mapping

from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError
from rankone.runtime.progress import log
from rankone.text.blocks import Blocks, chunk_documents, passage_blocks
from rankone.text.corpus import SPLITS, Corpus, enough_chars, require_domain, require_split
from rankone.text.evenly import evenly
from rankone.text.mixture import CHUNK_CHARS
from rankone.text.openers import AUTO
from rankone.text.sources.directory import DirectoryCorpus
from rankone.text.sources.joined import holding


def domain_passages(corpus: Corpus, domain: str, split: str, tokens: int) -> list[str]:
    """Documents of a split that hold about `tokens` tokens or more, long ones cut at line ends.

    Of a domain with several sources any prefix holds as much text of each (evenly.py).
    """
    require_domain(corpus, domain)
    require_split(split)
    chars = enough_chars(tokens)
    corpus = holding(corpus, domain)
    if isinstance(corpus, DirectoryCorpus):
        each = [corpus.source_documents(domain, source, split, chars) for source in corpus.sources(domain)]
    else:
        each = [corpus.documents(domain, split, chars)]
    return list(evenly((chunk_documents(documents, CHUNK_CHARS) for documents in each), chars))


def domain_blocks(
    tokenizer: PreTrainedTokenizerBase,
    corpus: Corpus,
    domain: str,
    split: str,
    tokens: int,
    length: int,
    opener: str = AUTO,
) -> Blocks:
    """The first `tokens` scored tokens of a domain's split, or all it has, in rows of `length`, the opener included.

    That it has fewer is said. Raises RankOneError for an unknown domain or split, for fewer than one token asked for, and
    where there is no text.
    """
    if tokens < 1:
        raise RankOneError(f"{tokens} tokens per domain are asked for; ask for at least 1.")
    what, read = f"the {split} text of '{domain}'", tokens
    while True:
        passages = domain_passages(corpus, domain, split, read)
        if not passages:
            raise _without(corpus, domain, split)
        blocks = passage_blocks(tokenizer, passages, length, what=what, opener=opener).take(tokens)
        if blocks.tokens == tokens:
            return blocks
        if sum(map(len, passages)) < enough_chars(read):
            log.info(f"{what}: {blocks.tokens:,} tokens of {tokens:,} wanted, all there are")
            return blocks
        read *= 2


def _without(corpus: Corpus, domain: str, split: str) -> RankOneError:
    """That a domain has nothing of a split; of a folder, where its text went and how some comes to this split."""
    here = holding(corpus, domain)
    splits = [other for other in SPLITS if other != split] if isinstance(here, DirectoryCorpus) else []
    others = [other for other in splits if here.documents(domain, other, 1)]
    if not others:
        return RankOneError(f"'{domain}' has no text of the split '{split}'. Give more text.")
    return RankOneError(
        f"'{domain}' has no text of the split '{split}', only of {' and '.join(others)}. Add a file SOURCE.{split}.txt, or, "
        "where no file's name says its split, more documents: they are separated by blank lines."
    )


def shortages(text: Mapping[str, Blocks], tokens: int) -> dict[str, int]:
    """Domains that have fewer tokens than were asked for, with how many they have."""
    return {domain: blocks.tokens for domain, blocks in text.items() if blocks.tokens < tokens}
