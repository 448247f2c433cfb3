"""Words and the entries that spell them."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.text.vocabulary import require_tokens, spelled

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
