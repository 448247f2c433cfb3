"""Words and the entries that spell them."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.text.vocabulary import require_tokens, spelled, with_neighbours

TEXTS = ["der", " der", "▁die", "Der", "", " ", "ung", "\n"]


@pytest.mark.parametrize(
    ("word", "found"),
    [("der", [0, 1]), (" der", [1]), ("die", [2]), ("Der", [3]), (" ung", [6]), ("\n", [7]), (" ", [5])],
)
def test_entries_of_a_word(word, found):
    assert require_tokens(word, TEXTS) == found


@pytest.mark.parametrize("word", ["dern", ""])
def test_a_word_of_several_tokens_is_refused(word):
    with pytest.raises(RankOneError, match=f"no token '{word}'") if word else pytest.raises(AssertionError):
        assert require_tokens(word, TEXTS) == "never"


def test_near_tokens_are_offered():
    with pytest.raises(RankOneError, match=r"Nearest: der"):
        require_tokens("dern", TEXTS)


def test_spelled_has_an_entry_per_logit(tokenizer):
    texts = spelled(tokenizer, len(tokenizer) + 3)
    assert len(texts) == len(tokenizer) + 3
    assert texts[-3:] == ["", "", ""]
    assert texts[40] == tokenizer.decode([40])


def test_byte_pieces_are_readable(tokenizer):
    """Every entry of a byte-level vocabulary has a text; pieces that the tokenizer cannot decode alone show their bytes."""
    texts = spelled(tokenizer)
    assert not [text for text in texts if "\ufffd" in text]
    for word in ("é", " über", "日本", "🙂"):
        pieces = [texts[i] for i in tokenizer.encode(word, add_special_tokens=False)]
        assert "".join(with_neighbours(pieces)).strip() == word.strip()


def test_pieces_stand_with_their_neighbours():
    tokens = ["a", " <0xC3>", "<0xA9>", "b", "<0xE2><0x82>", "<0xAC>", "<0xFF>", "<0xC3>"]
    assert with_neighbours(tokens) == ["a", " é", "", "b", *tokens[4:]]
    assert with_neighbours(tokens[:6]) == ["a", " é", "", "b", "€", ""]
    assert with_neighbours(tokens[:6], centre=5) == ["a", " é", "", "b", "", "€"]
    assert with_neighbours(tokens[:6], centre=3)[1] == " é"
