"""Statistical labels on pages whose counts are known, and their invariants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.labels import pages
from tests.labels.pages import domain, example, page, ruled, token

from rankone.core.escaping import visible
from rankone.labels.statistics.statistical import statistical_label
from rankone.metrics.wilson import wilson_lower

CONTEXT = [" Haus", " gehen", "ung", " der", " schön", " Hund"]


def german_function_words(outputs=()):
    inputs = [
        token(" der", 40, 50, 100, 2000, 1),
        token(" die", 30, 40, 100, 2000, 2),
        token(" und", 20, 30, 100, 2000, 3),
        token(" Haus", 10, 200, 100, 2000, 4),
    ]
    centres = [" der"] * 40 + [" die"] * 30 + [" und"] * 20 + [" Haus"] * 10
    examples = [example("de", [*CONTEXT[:3], c, *CONTEXT[3:]], 3) for c in centres]
    domains = [domain("de", 1000, 98), domain("en", 1000, 2)]
    return page(tokens=2000, domains=domains, inputs=inputs, outputs=outputs, examples=examples)


def test_function_words_and_suffixes():
    outputs = [token(t, 10, 50, 100, 2000, i) for i, t in enumerate(("ung", "heit", "keit", "en"))]
    label = statistical_label(german_function_words(outputs))
    assert label.label == "German function words: der, die, und · writes German suffixes"
    assert label.source == "statistical"
    assert label.confidence == pytest.approx(wilson_lower(0.98, 100) * wilson_lower(0.9, 100))
    assert "90% of 100 firings are on function words" in label.reasoning
    assert "-ung, -heit, -keit" in label.reasoning


def test_outputs_of_no_kind_are_quoted_and_weak_ones_are_left_out():
    mixed = [token(" Haus", 20, 50, 100, 2000, 1), token("ung", 20, 50, 100, 2000, 2)]
    assert statistical_label(german_function_words(mixed)).label.endswith(" · writes Haus, -ung")
    weak = [token("ung", 1, 5, 100, 2000, 2)]
    assert "writes" not in statistical_label(german_function_words(weak)).label
    usual = [token("ung", 50, 900, 100, 2000, 2)]
    assert "writes" not in statistical_label(german_function_words(usual)).label


def test_a_kind_that_is_as_common_around_is_not_named():
    examples = [example("de", [" gehen"] * 5, 2)] * 60 + [example("de", [" gehen", " Haus", "ung"], 1)] * 40
    found = page(tokens=2000, domains=[domain("de", 1000, 98), domain("en", 1000, 2)], examples=examples)
    assert "words" not in statistical_label(found).label


@pytest.mark.parametrize(("after", "noun"), [("ung", "word beginnings"), (" schnell", "words")])
def test_first_pieces_are_told_from_whole_words(after, noun):
    tokens = [" der", ",", " die"]
    examples = [
        example("de", [*tokens, w, after, *tokens], 3) for w in (" geh", " steh", " seh", " dreh") * 20
    ]
    found = page(tokens=2000, domains=[domain("de", 1000, 80), domain("en", 1000, 2)], examples=examples)
    assert statistical_label(found).label.startswith(f"German {noun}: ")


def test_code_is_said_once():
    examples = [example("code", [" x", "):", " y"], 1), example("code", [" y", " ==", " x"], 1)] * 20
    outputs = [token(t, 10, 50, 40, 1000, i) for i, t in enumerate(("):", "==", "->", "()"))]
    found = page(domains=[domain("code", 500, 40), domain("en", 500, 0)], examples=examples, outputs=outputs)
    assert statistical_label(found).label == "code symbols: ==, ): · writes code symbols"


def test_one_token():
    examples = [example("de", [" der", ",", " die"], 1)] * 50
    found = page(domains=[domain("de", 500, 50), domain("en", 500, 40)], examples=examples)
    assert statistical_label(found).label == "token everywhere: “,”"


def test_almost_every_token_of_a_domain():
    label = statistical_label(ruled("h.0.a:1", lambda d, t: d == "de"))
    assert label.label == "German text (over 90% of its tokens)"


@pytest.mark.parametrize(
    ("firings", "others", "said"),
    [
        (560, 0, "German text (over half of its tokens)"),
        (450, 0, "German text"),
        (950, 0, "German text (over 90% of its tokens)"),
        (560, 200, "text, most in German (over half of its tokens)"),
        (560, 560, "text everywhere (over half of its tokens)"),
    ],
)
def test_a_label_says_which_share_of_the_named_text_it_means(firings, others, said):
    domains = [domain("de", 1000, firings), *(domain(d, 1000, others) for d in ("en", "fr", "es"))]
    label = statistical_label(page(tokens=4000, domains=domains))
    assert label.label == said
    if "(" in said:
        assert f"Fires on {firings / 1000:.0%} of the tokens there." in label.reasoning


def test_rules_are_read_back():
    function = statistical_label(ruled("h.0.a:1", lambda d, t: t in (" der", " die", " und")))
    assert function.label.startswith("German function words: ")
    suffix = statistical_label(ruled("h.0.a:2", lambda d, t: t in ("ung", "heit", "ing", "ness")))
    assert suffix.label.startswith("suffixes everywhere: -")
    assert function.confidence > 0.9
    assert suffix.confidence > 0.9


@pytest.mark.parametrize(("after", "noun"), [("er", "middles of words"), (" Hund", "suffixes")])
def test_pieces_within_words_are_told_from_suffixes(after, noun):
    examples = [
        example("de", [" der", " G", w, after, " die", "."], 2) for w in ("ro", "ra", "ru", "ri") * 20
    ]
    found = page(tokens=2000, domains=[domain("de", 1000, 80), domain("en", 1000, 2)], examples=examples)
    assert statistical_label(found).label.startswith(f"German {noun}: ")


@pytest.mark.parametrize(("after", "writes"), [("er", "-ung, -heit, -keit"), (" Hund", "German suffixes")])
def test_outputs_within_words_are_quoted(after, writes):
    outputs = [token(t, 10, 50, 80, 2000, i) for i, t in enumerate(("ung", "heit", "keit", "en"))]
    examples = [example("de", [" der", " Be", "ro", after, "."], 1)] * 80
    domains = [domain("de", 1000, 80), domain("en", 1000, 2)]
    found = page(tokens=2000, domains=domains, outputs=outputs, examples=examples)
    assert statistical_label(found).label.endswith(f" · writes {writes}")


def test_a_domain_with_few_of_the_firings_is_only_where_it_fires_most():
    examples = [example("de", [" Haus", "ung", " der"], 1)] * 80
    domains = [domain("de", 1000, 40), domain("en", 1000, 19), domain("fr", 1000, 19), domain("it", 1000, 19)]
    found = page(tokens=4000, domains=domains, examples=examples)
    assert statistical_label(found).label == "token, most in German: -ung"


def test_the_commonest_tokens_of_a_rare_one_come_first():
    examples = [example("de", [" der", t], 1) for t in (" a", " b", " c", " c")]
    found = page(tokens=10_000, firings=4, examples=examples)
    assert statistical_label(found).label == "rare, fires 4 times: c, a, b"


def test_rare_and_never():
    once = page(tokens=10_000, firings=1, examples=[example("de", [" der", " Hund"], 1)])
    label = statistical_label(once)
    assert label.label == "rare, fires once: Hund"
    assert label.confidence == pytest.approx(wilson_lower(1.0, 1))
    assert label.confidence < 0.25
    assert statistical_label(page(firings=0)).label == "never fires on this text"
    assert statistical_label(page(firings=0)).confidence == 0.0


def test_without_examples_the_lists_are_read():
    found = german_function_words()
    bare = page(tokens=2000, domains=found.domains, inputs=found.input_tokens)
    assert statistical_label(bare).label.startswith("German function words: der, die, und")


hostile = st.text(max_size=8)


@given(
    st.lists(st.tuples(hostile, hostile, st.integers(0, 3)), min_size=1, max_size=12),
    st.integers(0, 400),
    st.integers(0, 400),
)
def test_any_text_gives_one_safe_line_the_same_every_time(windows, de, en):
    examples = [example(d, [a, d, a, d], c) for a, d, c in windows]
    domains = [domain(windows[0][0], 500, de), domain("en", 500, en)]
    inputs = [token(t, i + 1, 20, max(de + en, 1), 1000, i) for i, (t, _, _) in enumerate(windows)]
    made = page(domains=domains, inputs=inputs, outputs=inputs, examples=examples)
    label = statistical_label(made)
    assert label == statistical_label(made)
    assert 0 <= label.confidence <= 1
    assert label.label == visible(label.label)
    assert label.reasoning == visible(label.reasoning)


def test_order_of_examples_does_not_matter():
    made = ruled("h.0.a:1", lambda d, t: t in (" der", " die"))
    other = pages.page(
        made.part,
        made.tokens,
        made.firings,
        made.domains,
        made.input_tokens,
        made.output_tokens,
        made.examples[::-1],
    )
    assert statistical_label(made) == statistical_label(other)
