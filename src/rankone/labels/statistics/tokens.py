"""Kinds of tokens: function words, word beginnings, suffixes, digits, punctuation, code symbols."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from rankone.core.escaping import clipped
from rankone.harvest.reading.page import PartPage
from rankone.text.vocabulary import PIECE

# Plural, as a label says it.
NOUNS = {
    "function": "function words",
    "capitalised": "capitalised words",
    "word": "words",
    "suffix": "suffixes",
    "digits": "digits",
    "punctuation": "punctuation",
    "symbol": "code symbols",
    "space": "spaces and line breaks",
    "other": "rare signs",
}
_PUNCTUATION = set(".,;:!?…'\"’‘“”„‚«»‹›-–—()¿¡")
# How tokenizers write the space before a word where they do not decode it.
_STARTS = (" ", "▁", "Ġ")
_SHOWN = 24


def marks_starts(page: PartPage) -> bool:
    """Whether the tokenizer keeps the space before a word, so that beginnings and continuations can be told apart."""
    listed = [row.text for row in (*page.input_tokens, *page.output_tokens)]
    windows = (token for example in page.examples for token in example.tokens)
    return any(text.startswith(_STARTS) for text in listed) or any(
        text.startswith(_STARTS) for text in windows
    )


def _is_piece(text: str) -> bool:
    """Whether a token has bytes that are not a character by themselves."""
    return "\ufffd" in text or PIECE.search(text) is not None


@lru_cache(1 << 16)  # The same tokens come up on every page.
def kind(text: str, words: frozenset[str], starts: bool) -> str:
    """The kind (a key of NOUNS) of one token.

    words: the function words that count; starts: whether a token without a leading space continues a word.
    """
    core = text.strip().strip("▁Ġ").strip()
    if not core:
        return "space"
    if _is_piece(core):
        return "other"
    if core.isdigit():
        return "digits"
    if not any(c.isalnum() for c in core):
        return "punctuation" if set(core) <= _PUNCTUATION and len(set(core)) == 1 else "symbol"
    if not core.replace("'", "").replace("’", "").isalpha():
        return "symbol"
    return _word_kind(core, text.startswith(_STARTS) or not starts, words)


def _word_kind(core: str, begins: bool, words: frozenset[str]) -> str:
    if not begins:
        return "suffix"
    if core.casefold() in words:
        return "function"
    return "capitalised" if core[0].isupper() else "word"


def shown(text: str, starts: bool) -> str:
    """A token as a label quotes it: no outer spaces, a hyphen before a continuation, white space made visible."""
    core = text.strip().strip("▁Ġ").strip()
    if not core:
        return clipped(text.replace(" ", "␣").replace("▁", "␣").replace("Ġ", "␣"), _SHOWN)
    hyphen = "-" if starts and core[0].isalpha() and not text.startswith(_STARTS) else ""
    word = hyphen + clipped(core, _SHOWN)
    return f"“{word}”" if "," in word else word  # Commas part the tokens of a label.


def distinct(tokens: Iterable[str], limit: int, starts: bool) -> list[str]:
    """The first `limit` tokens as shown, without repeats up to case and without undecodable ones."""
    words: dict[str, str] = {}
    for text in tokens:
        if not _is_piece(text):
            word = shown(text, starts)
            words.setdefault(word.casefold(), word)
        if len(words) == limit:
            break
    return list(words.values())
