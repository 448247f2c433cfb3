"""A label from counts alone: no language model, the same for the same page.

"German function words: der, die, und · writes German suffixes" states three things: where it fires (domains by density),
on what (the kind of the token at its firings, against the kinds around them), and which tokens the model gives more
probability than elsewhere where it fires. The last is what the model predicts there, not what the part causes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rankone.harvest.reading.page import PartPage, most_informative
from rankone.labels.label import STATISTICAL, Label
from rankone.labels.statistics.function_words import function_words
from rankone.labels.statistics.tokens import NOUNS, distinct, kind, marks_starts, shown
from rankone.labels.statistics.where import Where, where
from rankone.metrics.wilson import wilson_lower

# Below this many firings the counts carry no claim about kinds or domains.
FEW_FIRINGS = 10
# A kind is named when it holds this share of the firings, and this many times its share of the tokens around them.
_KIND_SHARE, _KIND_LIFT = 0.6, 1.25
# One token is named alone from this share of the firings, five together from that; they too must be rarer around.
_ONE_TOKEN, _FIVE_TOKENS = 0.6, 0.5
# Shares of the tokens of the named domains that are said where it fires on no kind of token more than on others.
_SAID_SHARES = ((0.9, "over 90% of its tokens"), (0.5, "over half of its tokens"))
# Outputs count with PMI above this (nats) and are named when they hold this share of the probability.
_OUTPUT_PMI, _OUTPUT_SHARE, _OUTPUTS_READ = 0.5, 0.1, 12
_QUOTED = 3
# What pieces of words are called where the next token mostly continues the word.
_BEGINNINGS, _MIDDLES = "word beginnings", "middles of words"


@dataclass(frozen=True)
class _Reading:
    """What one part fires on: a noun, quoted tokens, the share of firings that the noun covers, a reason.

    much: how much of the text of the named domains that is, where that is all there is to say of it.
    """

    noun: str
    quoted: list[str]
    confidence: float
    reason: str
    much: str = ""


def statistical_label(page: PartPage) -> Label:
    """Label one part from its page.

    confidence is where.confidence (a bound for the domains) times the lower end of the 95 % Wilson interval of the share
    of example firings on tokens of the named kind (1 where no kind is named); with fewer than FEW_FIRINGS firings, the
    Wilson bound of a share of 1. It says how well the statement holds, not how useful it is: that is what scores are for.
    """
    if page.firings == 0:
        reason = f"No firing in {page.tokens} tokens."
        return Label(page.part, "never fires on this text", 0.0, STATISTICAL, reason)
    if page.firings < FEW_FIRINGS:
        return _rare(page)
    place = where(page.domains)
    inputs = _inputs(page, place)
    outputs, output_reason = _outputs(page, place)
    head = _phrase(place.adjective, inputs.noun) + place.tail + (f" ({inputs.much})" if inputs.much else "")
    text = head + (f": {', '.join(inputs.quoted)}" if inputs.quoted else "") + outputs
    reason = " ".join(filter(None, (_where_reason(page, place), inputs.reason, output_reason)))
    return Label(page.part, text, place.confidence * inputs.confidence, STATISTICAL, reason)


def _rare(page: PartPage) -> Label:
    times = "once" if page.firings == 1 else f"{page.firings} times"
    starts = marks_starts(page)
    quoted = distinct(_ranked(_fired(page)), _QUOTED, starts)
    text = f"rare, fires {times}" + (f": {', '.join(quoted)}" if quoted else "")
    firings = "1 firing" if page.firings == 1 else f"{page.firings} firings"
    reason = f"Only {firings} in {page.tokens} tokens: too few to name domains or kinds."
    # A share of 1 over so few draws: the bound that the best evidence of this size could give.
    return Label(page.part, text, wilson_lower(1.0, page.firings), STATISTICAL, reason)


def _where_reason(page: PartPage, place: Where) -> str:
    density = page.firings / max(page.tokens, 1)
    begin = f"{page.firings} firings in {page.tokens} tokens (density {density:.3g})."
    if not (place.adjective or place.tail) or place.tail == " everywhere":
        return begin
    return f"{begin} {place.share:.0%} of them in the named domains, domains weighted alike."


def _inputs(page: PartPage, place: Where) -> _Reading:
    starts = marks_starts(page)
    words = function_words(place.domains)
    fired, around = _fired(page), _around(page)
    # Examples are a uniform sample of the firings, so they are the draws that a share is seen over.
    draws = len(page.examples) or page.firings
    total = max(sum(fired.values()), 1)
    ranked = sorted(fired.items(), key=lambda item: (-item[1], item[0]))
    one = _stands_out(ranked[:1], total, around)
    if one >= _ONE_TOKEN:
        token = shown(ranked[0][0], starts)
        bound = wilson_lower(one, draws)
        return _Reading(
            "token", [token], bound, f"{one:.0%} of {draws} firings are on “{token.strip('“”')}”."
        )
    named = _named_kind(_by_kind(fired, words, starts), _by_kind(around, words, starts))
    if named is not None:
        chosen, share, base = named
        quoted = _quoted(page, fired, starts, lambda text: kind(text, words, starts) == chosen)
        reason = f"{share:.0%} of {draws} firings are on {NOUNS[chosen]}, {base:.0%} of the tokens around them are."
        return _Reading(_noun(page, chosen, words, starts), quoted, wilson_lower(share, draws), reason)
    five = _stands_out(ranked[:5], total, around)
    if five >= _FIVE_TOKENS:
        quoted = distinct([text for text, _ in ranked], 5, starts)
        return _Reading(
            "tokens", quoted, wilson_lower(five, draws), f"{five:.0%} of {draws} firings are on five tokens."
        )
    return _no_kind(page, place, fired, starts)


def _noun(page: PartPage, chosen: str, words: frozenset[str], starts: bool, after: int = 0) -> str:
    """What tokens of a kind are called, `after` tokens behind the firings: pieces of words that are mostly continued there
    have names of their own."""
    names = {"word": _BEGINNINGS, "capitalised": _BEGINNINGS, "suffix": _MIDDLES}
    places = [(example.tokens, example.centre + after) for example in page.examples]
    following = [
        kind(tokens[i + 1], words, starts)
        for tokens, i in places
        if i + 1 < len(tokens) and kind(tokens[i], words, starts) == chosen
    ]
    continued = following.count("suffix") * 2 >= max(len(following), 1)
    return names.get(chosen, NOUNS[chosen]) if continued else NOUNS[chosen]


def _phrase(adjective: str, noun: str) -> str:
    """Adjective and noun; `code` is not said twice."""
    return noun if noun.startswith(f"{adjective} ") else f"{adjective} {noun}".strip()


def _stands_out(ranked: Sequence[tuple[str, float]], total: float, around: Mapping[str, float]) -> float:
    """Share of the firings on these tokens together; 0 if they are about as common around."""
    share = sum(count for _, count in ranked) / total
    base = sum(around.get(text, 0.0) for text, _ in ranked) / max(sum(around.values()), 1)
    return share if share >= _KIND_LIFT * base else 0.0


def _no_kind(page: PartPage, place: Where, fired: Mapping[str, float], starts: bool) -> _Reading:
    rows = [row for row in page.domains if row.domain in place.domains]
    density = sum(r.firings for r in rows) / max(sum(r.tokens for r in rows), 1)
    much = next((words for share, words in _SAID_SHARES if density >= share), "")
    if much:
        return _Reading("text", [], 1.0, f"Fires on {density:.0%} of the tokens there.", much)
    return _Reading("text", _quoted(page, fired, starts, lambda _: True), 1.0, "No kind of token stands out.")


def _fired(page: PartPage) -> dict[str, float]:
    """Firings by token: over the examples, or over the listed tokens where there are no examples."""
    if page.examples:
        return dict(Counter(example.tokens[example.centre] for example in page.examples))
    return {row.text: row.weight for row in page.input_tokens}


def _ranked(counts: Mapping[str, float]) -> list[str]:
    """The commonest first."""
    return sorted(counts, key=lambda text: (-counts[text], text))


def _around(page: PartPage) -> dict[str, float]:
    """Tokens near the firings, or how often the listed tokens occur in all text where there are no examples."""
    if page.examples:
        return dict(
            Counter(
                token
                for example in page.examples
                for i, token in enumerate(example.tokens)
                if i != example.centre
            )
        )
    return {row.text: row.weight / row.recall for row in page.input_tokens if row.recall > 0}


def _by_kind(counts: Mapping[str, float], words: frozenset[str], starts: bool) -> dict[str, float]:
    """Shares by kind of token; they add up to 1 (or there are none)."""
    shares: Counter[str] = Counter()
    total = sum(counts.values())
    for text, count in counts.items():
        shares[kind(text, words, starts)] += count / total  # pyright: ignore[reportArgumentType]
    return dict(shares)


def _named_kind(fired: Mapping[str, float], around: Mapping[str, float]) -> tuple[str, float, float] | None:
    """The kind with the largest share that is large enough and larger than around: (kind, share, share around)."""
    for chosen, share in sorted(fired.items(), key=lambda item: (-item[1], item[0])):
        base = around.get(chosen, 0.0)
        if share >= _KIND_SHARE and share >= _KIND_LIFT * base:
            return chosen, share, base
    return None


def _quoted(
    page: PartPage, fired: Mapping[str, float], starts: bool, wanted: Callable[[str], bool]
) -> list[str]:
    """Tokens that carry the most of the information: weight × PMI, falling; the commonest where none is listed."""
    rows = [row for row in page.input_tokens if row.pmi > 0 and wanted(row.text)]
    if rows:
        return distinct([row.text for row in most_informative(rows)], _QUOTED, starts)
    return distinct([text for text in _ranked(fired) if wanted(text)], _QUOTED, starts)


def _outputs(page: PartPage, place: Where) -> tuple[str, str]:
    """` · writes …` and its reason, or two empty strings where no output stands out."""
    raised = most_informative([row for row in page.output_tokens if row.pmi >= _OUTPUT_PMI])[:_OUTPUTS_READ]
    share = sum(row.weight for row in raised) / max(page.firings, 1)
    if share < _OUTPUT_SHARE:
        return "", ""
    starts = marks_starts(page)
    quoted = ", ".join(distinct([row.text for row in raised], _QUOTED, starts))
    reason = f"Raised outputs hold {share:.0%} of the model's probability there: {quoted}."
    kinds = _by_kind({row.text: row.weight for row in raised}, function_words(place.domains), starts)
    chosen, part = max(kinds.items(), key=lambda item: (item[1], item[0]))
    noun = _noun(page, chosen, function_words(place.domains), starts, after=1)
    # A kind says little unless it is that of one domain.
    if part < _KIND_SHARE or len(raised) < _QUOTED or not place.single or noun == _MIDDLES:
        return f" · writes {quoted}", reason
    return f" · writes {_phrase(place.adjective, noun)}", reason
