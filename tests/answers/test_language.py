"""Language identity on short text: the shipped passages' first words, and nothing said where nothing can be."""

from __future__ import annotations

import pytest

from rankone.answers.language import LANGUAGES, language_of
from rankone.answers.prompts import prompts
from rankone.text.sources.builtin import LANGUAGES as SHIPPED


@pytest.mark.parametrize("language", SHIPPED)
def test_the_first_words_of_passages(corpus, language):
    texts = [" ".join(text.split()[:12]) for text in corpus.documents(language, "test")]
    found = [guess.language for text in texts if (guess := language_of(text)) is not None]
    assert len(found) >= 0.9 * len(texts)
    assert found.count(language) == len(found)


def test_the_prompts_are_in_the_language_they_say():
    for prompt in prompts():
        own = prompt.language or "en"
        if prompt.kind == "code" or prompt.uses or prompt.kind == "name":
            continue
        for text in (prompt.chat, prompt.plain):
            guess = language_of(text)
            assert guess is None or guess.language == own, (prompt.name, text, guess)


@pytest.mark.parametrize("text", ["", "Paris.", "12 × 12 = 144", "1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1"])
def test_too_little_to_tell(text):
    assert language_of(text) is None


def test_every_language_of_the_prompts_can_be_named():
    assert {p.language for p in prompts() if p.language} <= set(LANGUAGES)
