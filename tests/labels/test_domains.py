"""Which domains a label names."""

from __future__ import annotations

import pytest
from tests.labels.written import written

from rankone.labels.domains import domains_named

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
    labels = written(a_0=("German words", 0.9), a_1=("German and Dutch words", 0.9))
    assert labels.names_only("a:0", "de", DOMAINS)
    assert not labels.names_only("a:0", "nl", DOMAINS)
    assert not labels.names_only("a:1", "de", DOMAINS)
    assert labels.names_only("a:1", "de", ["de", "en"])
