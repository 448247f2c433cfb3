"""Search over what is known of parts: words in labels, tokens and domains, and in the reasons for labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rankone.core.errors import RankOneError, nearest
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.reading.tokens import token_shares
from rankone.labels.label import Label
from rankone.labels.query import Query, affirmed, denies, in_text
from rankone.labels.statistics.where import NAMED_FROM
from rankone.labels.store import Labels
from rankone.text.domains import domain_name
from rankone.text.vocabulary import SPACES

# What a word counts by the place where it is found; of several places the best one counts.
WEIGHTS = {
    "label": 4.0,
    "denied in the label": 4.0,
    "beginning of a word of the label": 2.0,
    "fires on it": 2.0,
    "leads to it": 1.5,
    "domain": 1.5,
    "reason": 1.0,
}
# Where a word that the query denies keeps a part from being found; a reason may name it to tell it apart.
_PRESENT = ("label", "fires on it", "leads to it", "domain")
# A token is informative when it holds this share of the firings (or of the probability there), and this PMI.
_INFORMATIVE_SHARE, _INFORMATIVE_PMI = 0.05, 1.0


def _near(asked: Query, labels: Mapping[str, Label]) -> str:
    """The words of labels that are nearest to the first that none has."""
    words = sorted(
        {word.strip(".,:;·()“”") for label in labels.values() for word in label.label.casefold().split()}
    )
    return next((near for word in asked.wanted if word not in words and (near := nearest(word, words))), "")


@dataclass(frozen=True)
class Hit:
    """One part that a search found.

    places: the place where each word of the query was found. densities: firing density per domain of the harvest.
    """

    part: str
    label: Label
    score: float
    places: dict[str, str]
    density: float
    densities: dict[str, float]


def search(store: HarvestStore, labels: Labels, query: str, top: int = 20) -> list[Hit]:
    """The parts that match all words of `query`, best first; ties go to confidence, then to firings.

    A word's weight is WEIGHTS by where it stands (label before tokens before reasons), times 1 + the specificity where the
    word names a domain (mean importance there less the largest elsewhere, if above 0); a score is the sum over the words
    times (1 + confidence) / 2. A label that denies a word ("all text but German") does not match it. Words that the query
    itself denies ("words not German") must not stand in the label nor be what the part fires on; a query that only denies
    finds the labels that deny the same.

    Raises RankOneError, saying what was searched, where nothing matches.
    """
    asked = Query.read(query)
    names = store.names()
    best = {name: labels.best(name) for name in labels.names()}
    densities = _densities(store)
    places = {word: _Places(store, densities, word) for word in (*asked.wanted, *asked.denied)}
    scored = []
    for number, name in enumerate(names):
        if name not in best:
            continue
        hits = _hits(asked, places, number, best[name])
        if hits and all(weight > 0 for weight, _ in hits.values()):
            score = sum(weight for weight, _ in hits.values()) * (1 + best[name].confidence) / 2
            scored.append((score, number, {word: place for word, (_, place) in hits.items()}))
    if not scored:
        said = f"{len(best):,} labels with their reasons, the tokens and the {len(store.domains())} domains"
        raise RankOneError(
            f"nothing matches '{query}' (searched: {said}). Try fewer words, or a token.{_near(asked, best)}"
        )
    firings = store.firings()
    scored.sort(key=lambda hit: (-hit[0], -best[names[hit[1]]].confidence, -int(firings[hit[1]]), hit[1]))
    total = sum(store.tokens().values())
    return [
        Hit(
            names[i],
            best[names[i]],
            score,
            where,
            int(firings[i]) / total,
            dict(zip(store.domains(), densities[i].tolist(), strict=True)),
        )
        for score, i, where in scored[:top]
    ]


def _hits(
    asked: Query, places: dict[str, _Places], number: int, label: Label
) -> dict[str, tuple[float, str]]:
    """(weight, place) of every word that makes a part a hit; empty where one that the query denies is there."""
    if any(places[word].best(number, label)[1] in _PRESENT for word in asked.denied):
        return {}
    if asked.wanted:
        return {word: places[word].best(number, label) for word in asked.wanted}
    denied = "denied in the label"
    return {word: (WEIGHTS[denied] * denies(word, label.label), denied) for word in asked.denied}


def _densities(store: HarvestStore) -> np.ndarray:
    """Firing density, [parts, domains]."""
    column = store.record.config.firing_column
    counts = store.table(f"SELECT {column} AS firings FROM domains ORDER BY part, domain")[
        "firings"
    ].to_numpy()
    sizes = np.array(list(store.tokens().values()))
    return counts.reshape(-1, len(sizes)) / np.maximum(sizes, 1)


class _Places:
    """Where one word is found, of any part."""

    def __init__(self, store: HarvestStore, densities: np.ndarray, word: str) -> None:
        self.word = word
        texts: Sequence[str] = store.table("SELECT text FROM vocabulary ORDER BY token")["text"].to_pylist()
        tokens = [i for i, text in enumerate(texts) if text.strip(SPACES).casefold() == word]
        self.inputs = _informative(store, "inputs", tokens)
        self.outputs = _informative(store, "outputs", tokens)
        named = [
            i for i, d in enumerate(store.domains()) if word in (d.casefold(), domain_name(d).casefold())
        ]
        self.domains = _on_domain(densities, named)
        self.specificity = _specificity(store, named)

    def best(self, number: int, label: Label) -> tuple[float, str]:
        """(weight, place) of the best place; (0, "") where the word is nowhere."""
        within = in_text(self.word, affirmed(label.label).casefold())
        if denies(self.word, label.label):
            return 0.0, ""
        stands = {
            "label": within == 1,
            "beginning of a word of the label": within > 0,
            "fires on it": number in self.inputs,
            "leads to it": number in self.outputs,
            "domain": number in self.domains,
            "reason": in_text(self.word, affirmed(label.reasoning).casefold()) > 0,
        }
        place = next((place for place in WEIGHTS if stands.get(place)), "")
        return WEIGHTS.get(place, 0.0) * (1 + self.specificity[number]), place


def _informative(store: HarvestStore, side: Literal["inputs", "outputs"], tokens: Sequence[int]) -> set[int]:
    if not tokens:
        return set()
    shares = token_shares(store, side, tokens)
    return set(
        shares.part[(shares.precision >= _INFORMATIVE_SHARE) & (shares.pmi >= _INFORMATIVE_PMI)].tolist()
    )


def _on_domain(densities: np.ndarray, named: Sequence[int]) -> set[int]:
    """Subcomponents that fire mostly on the named domains: alone above half of the density there."""
    if not named:
        return set()
    here = densities[:, named].max(1)
    others = np.delete(densities, named, axis=1).max(1, initial=0.0)
    return set(np.flatnonzero((here > 0) & (others < NAMED_FROM * here)).tolist())


def _specificity(store: HarvestStore, named: Sequence[int]) -> np.ndarray:
    """Mean importance on the named domains less the largest on any other, at least 0; 0 where none is named."""
    importances = store.importances()
    if not named or len(named) == len(importances.domains):
        return np.zeros(len(importances.names))
    chosen = [importances.domains[i] for i in named]
    score = importances.of(chosen[0]) - importances.others(*chosen)
    return score.clamp(min=0.0).numpy()
