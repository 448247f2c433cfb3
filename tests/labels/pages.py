"""Harvests made by hand: a page from a few counts, and a corpus in which firings follow a rule."""

from __future__ import annotations

import math
import random

from rankone.core.errors import RankOneError
from rankone.harvest.reading.page import DomainRow, Example, PartPage, TokenRow


class FakeHarvest:
    """A dictionary of pages."""

    def __init__(self, pages):
        self.by_name = {page.part: page for page in pages}
        self.reads = 0

    def names(self):
        return list(self.by_name)

    def page(self, name):
        self.reads += 1
        if name not in self.by_name:
            raise RankOneError(f"no subcomponent '{name}'.")
        return self.by_name[name]

    def pages(self):
        yield from self.by_name.values()


def domain(name, tokens, firings, total=None):
    density = firings / tokens
    lift = density / total if total else 1.0
    return DomainRow(name, tokens, firings, density, density, density, lift)


def token(text, weight, occurrences, firings, tokens, token_id=0):
    """Counts to a row: weight firings on a token that occurs so often, of so many firings and tokens."""
    pmi = math.log(weight * tokens / (firings * occurrences)) if weight else -99.0
    return TokenRow(token_id, text, weight, pmi, weight / firings, weight / occurrences, math.exp(pmi))


def example(name, tokens, centre, firing=None, ids=None):
    """A window that fires on `firing` (positions; the centre alone if not given)."""
    on = {centre} if firing is None else set(firing) | {centre}
    importances = [0.9 if i in on else 0.0 for i in range(len(tokens))]
    return Example(
        name,
        list(tokens),
        ids or list(range(len(tokens))),
        importances,
        [2.0 * g for g in importances],
        centre,
    )


def page(name="h.0.mlp.up:1", tokens=1000, firings=None, domains=(), inputs=(), outputs=(), examples=()):
    total = sum(d.firings for d in domains) if firings is None else firings
    density = total / tokens
    return PartPage(
        name,
        tokens,
        total,
        {0.0: density, 0.1: density},
        density,
        density,
        list(domains),
        sorted(inputs, key=lambda r: -r.pmi),
        sorted(outputs, key=lambda r: -r.pmi),
        [],
        list(examples),
    )


WORDS = {
    "de": [" der", " die", " und", " Haus", " gehen", "ung", "heit", " schön"],
    "en": [" the", " of", " and", " house", " walk", "ing", "ness", " nice"],
}
IDS = {text: i for i, text in enumerate(w for words in WORDS.values() for w in words)}


def ruled(name, rule, size=4000, window=8, kept=200, seed=0):
    """A page harvested from random text over WORDS, where the subcomponent fires exactly when rule(domain, token)."""
    random_ = random.Random(seed)
    streams = {d: [random_.choice(words) for _ in range(size)] for d, words in WORDS.items()}
    fired = {d: [rule(d, t) for t in stream] for d, stream in streams.items()}
    total, firings = 2 * size, sum(map(sum, fired.values()))
    domains = [domain(d, size, sum(fired[d]), max(firings, 1) / total) for d in WORDS]
    inputs = []
    for text, token_id in IDS.items():
        places = [(d, i) for d in WORDS for i, t in enumerate(streams[d]) if t == text]
        hits = sum(fired[d][i] for d, i in places)
        if hits:
            inputs.append(token(text, hits, len(places), firings, total, token_id))
    spots = [(d, i) for d in WORDS for i in range(window, size - window) if fired[d][i]]
    examples = []
    for d, i in random_.sample(spots, min(kept, len(spots))):
        part = slice(i - window, i + window + 1)
        tokens = streams[d][part]
        importances = [0.8 if f else 0.0 for f in fired[d][part]]
        examples.append(
            Example(d, tokens, [IDS[t] for t in tokens], importances, [-g for g in importances], window)
        )
    return page(name, total, firings, domains, inputs, (), examples)
