"""Which domains a label names."""

from __future__ import annotations

import pytest

from rankone.labels.domains import domains_named, names_only

DOMAINS = ["de", "en", "nl", "code"]


@pytest.mark.parametrize(
    ("label", "named"),
    [
        ("German function words: der, die", ["de"]),
        ("german articles", ["de"]),
        ("German and Dutch suffixes", ["de", "nl"]),
        ("words in all text but German", []),
        ("suffixes, most in German: -en", []),
        ("suffixes · writes German suffixes", []),
        ("German words · writes Dutch suffixes", ["de"]),
        ("code symbols: (", []),
        ("code code symbols: (", ["code"]),
        ("German code symbols", ["de"]),
        ("Germanic words", []),
        ("text everywhere", []),
        ("", []),
    ],
)
def test_domains_named(label, named):
    assert domains_named(label, DOMAINS) == named


def test_names_only():
    assert names_only("German words", "de", DOMAINS)
    assert not names_only("German words", "nl", DOMAINS)
    assert not names_only("German and Dutch words", "de", DOMAINS)
    assert names_only("German and Dutch words", "de", ["de", "en"])
