"""The text of one domain as rows to measure on."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError
from rankone.text.blocks import Blocks, chunk_documents, passage_blocks
from rankone.text.corpus import Corpus, require_domain, require_split
from rankone.text.mixture import CHUNK_CHARS
from rankone.text.openers import AUTO

# More than any of our languages needs, so that the characters asked for never hold too few tokens.
CHARS_PER_TOKEN = 8


def domain_passages(corpus: Corpus, domain: str, split: str, tokens: int) -> list[str]:
    """Documents of a split that hold about `tokens` tokens or more, long ones cut at line ends."""
    require_domain(corpus, domain)
    require_split(split)
    return chunk_documents(corpus.documents(domain, split, tokens * CHARS_PER_TOKEN), CHUNK_CHARS)


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

    Raises RankOneError for an unknown domain or split, for fewer than one token asked for, and where there is no text.
    """
    if tokens < 1:
        raise RankOneError(f"{tokens} tokens per domain are asked for; ask for at least 1.")
    passages = domain_passages(corpus, domain, split, tokens)
    what = f"the {split} text of '{domain}'"
    return passage_blocks(tokenizer, passages, length, what=what, opener=opener).take(tokens)
