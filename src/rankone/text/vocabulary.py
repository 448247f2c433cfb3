"""The entries of a vocabulary that spell a given word."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError, nearest

# How tokenizers write the space before a word where they do not decode it.
SPACES = " ▁Ġ"


def spelled(tokenizer: PreTrainedTokenizerBase, size: int = 0) -> list[str]:
    """The text of every entry; empty for entries that a model has beyond its tokenizer (up to `size`)."""
    own = [str(tokenizer.decode([i])) for i in range(len(tokenizer))]
    return own + [""] * (size - len(own))


def require_tokens(word: str, texts: Sequence[str]) -> list[int]:
    """Entries whose text is `word`, with or without the space before; RankOneError where the vocabulary has none.

    A word with its space before (` der`) means that entry alone.
    """
    exact = [i for i, text in enumerate(texts) if text == word]
    if word[:1] in tuple(SPACES) and exact:
        return exact
    bare = word.strip(SPACES)
    found = [i for i, text in enumerate(texts) if bare and text.strip(SPACES) == bare] or exact
    if not found:
        known = list(dict.fromkeys(stripped for text in texts if (stripped := text.strip(SPACES))))
        raise RankOneError(
            f"the vocabulary has no token '{word}': a longer word is written with several. Name one of its tokens."
            f"{nearest(bare, known)}"
        )
    return found
