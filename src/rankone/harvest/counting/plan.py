"""Which text a harvest reads, batch by batch: the same batches for every shard and after every interruption."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError
from rankone.harvest.config import HarvestConfig
from rankone.text.blocks import Blocks, passage_blocks
from rankone.text.corpus import Corpus, enough_chars, require_domain, require_split

DOCUMENTS_AT_ONCE = 512


@dataclass(frozen=True)
class Batch:
    """Rows of one domain that go through the model together.

    index: number of the batch in the whole harvest. domain: position in the configuration's domains. starts: [rows],
    the *position* of each row's first text token; positions number all text tokens of the harvest.
    """

    index: int
    domain: int
    blocks: Blocks
    starts: Int[Tensor, " rows"]


def batches(tokenizer: PreTrainedTokenizerBase, corpus: Corpus, config: HarvestConfig) -> Iterator[Batch]:
    """All batches of a harvest in order, tokenized as they are asked for.

    Raises RankOneError for a domain the corpus lacks or has no text of.
    """
    require_split(config.split)
    for domain in config.domains:
        require_domain(corpus, domain)
        if not corpus.documents(domain, config.split, 1):
            raise _empty(domain, corpus, config)
    index, position = 0, 0
    for number, domain in enumerate(config.domains):
        before = position
        for blocks in _blocks(tokenizer, corpus, domain, config):
            for part in _batched(blocks, config.batch_tokens):
                sizes = part.valid.sum(1)
                yield Batch(index, number, part, position + sizes.cumsum(0) - sizes)
                index, position = index + 1, position + part.tokens
        if position == before:
            raise _empty(domain, corpus, config)


def _empty(domain: str, corpus: Corpus, config: HarvestConfig) -> RankOneError:
    return RankOneError(
        f"the {config.split} text of '{domain}' in '{corpus.name}' is empty. Leave the domain out, or give it text."
    )


def _blocks(
    tokenizer: PreTrainedTokenizerBase, corpus: Corpus, domain: str, config: HarvestConfig
) -> Iterator[Blocks]:
    """Rows of a domain, up to its share of tokens; the last row is cut."""
    documents = corpus.documents(domain, config.split, enough_chars(config.tokens))
    left = config.tokens
    for start in range(0, len(documents), DOCUMENTS_AT_ONCE):
        some = documents[start : start + DOCUMENTS_AT_ONCE]
        blocks = passage_blocks(tokenizer, some, config.context, need=0).take(left)
        left -= blocks.tokens
        yield blocks
        if left == 0:
            return


def _batched(blocks: Blocks, tokens: int) -> Iterator[Blocks]:
    """Batches of at most `tokens` positions; rows of like length go together, so that little is padding."""
    widths = blocks.present.sum(1)
    order = widths.argsort(descending=True, stable=True)
    order = order[blocks.valid[order].any(1)]
    while len(order):
        width = int(widths[order[0]])
        rows, order = order.tensor_split([max(1, tokens // width)])
        yield Blocks(blocks.ids[rows, :width], blocks.valid[rows, :width])
