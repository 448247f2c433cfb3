"""The search over all parts where the list is too long for the page: what `static/finding.js` does, by the same rules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from rankone.labels.query import affirmed
from rankone.studio.listed.columns import PartColumns, RowsView
from rankone.studio.listed.requests import HAND, PAGE, RowsRequest

_BEGINS, _WITHIN, _PART_OF_NAME = 4, 2, 3


class Finder:
    """Searches one list; what is counted once is kept."""

    def __init__(self, columns: PartColumns) -> None:
        self.columns = columns
        self._site, self._label_source = np.asarray(columns.site), np.asarray(columns.label_source)
        self._density, self._confidence = np.asarray(columns.density), np.asarray(columns.confidence)
        self._shares = np.asarray(columns.by_domain).reshape(len(columns.domains), len(columns.number))
        self._labels: tuple[Mapping[str, str], list[str], Int[np.ndarray, " parts"]] | None = None

    def view(self, asked: RowsRequest, corrected: Mapping[str, str]) -> RowsView:
        """A page of what fits; corrected: labels that were said by hand, by part."""
        if asked.names:
            places = [self._place_of[name] for name in asked.names if name in self._place_of]
            rows = np.asarray(places, dtype=int)
        else:
            rows = self.rows(asked, corrected)
        here = self.columns.at(rows[asked.first : asked.first + PAGE].tolist())
        return RowsView(all=len(self.columns.number), total=len(rows), first=asked.first, rows=here)

    def holds(self, name: str) -> bool:
        """Whether a part of this name is in the list."""
        return name in self._place_of

    def rows(self, asked: RowsRequest, corrected: Mapping[str, str]) -> Int[np.ndarray, " fit"]:
        """Rows that fit, in their order."""
        words = asked.q.lower().split()
        order = self._order(asked.sort or ("match" if asked.q else "margin"))
        score = self._scores(words, corrected) if words else None
        if score is not None:
            kept = score > 0
        else:
            kept = np.full(len(self._density), True) if asked.dead else self._density > 0
        left = order[(kept & self._fits(asked, corrected))[order]]
        if score is None or asked.sort not in ("", "match"):
            return left
        return left[_descending(score[left])]  # they are in order of density, which decides between equals

    def _fits(self, asked: RowsRequest, corrected: Mapping[str, str]) -> Bool[np.ndarray, " parts"]:
        """Whether a row is what the facets leave."""
        held, fits = self.columns, np.full(len(self._density), True)
        if asked.site:
            fits &= self._site == _place(held.sites, asked.site)
        if asked.on:
            fits &= self._tops[0] == _place(held.domains, asked.on)
        if asked.by == HAND:
            hand = [self._place_of[name] for name in corrected if name in self._place_of]
            fits &= np.isin(np.arange(len(fits)), hand)
        elif asked.by:
            fits &= self._label_source == _place(held.label_sources, asked.by)
        return fits

    def _order(self, sort: str) -> Int[np.ndarray, " parts"]:
        if sort == "name":
            return np.arange(len(self._density))
        by = {"importance": np.asarray(self.columns.importance), "margin": self._tops[1]}
        return _descending(by.get(sort, self._density))

    @cached_property
    def _tops(self) -> tuple[Int[np.ndarray, " parts"], Float[np.ndarray, " parts"]]:
        """Per part, the domain it fires on most (-1: on none), and how much more than on the next."""
        ranked = np.sort(self._shares, axis=0)
        margin = ranked[-1] - (ranked[-2] if len(ranked) > 1 else 0.0)
        return np.where(ranked[-1] > 0, self._shares.argmax(axis=0), -1), margin

    def _excess(self, domain: int) -> Float[np.ndarray, " parts"]:
        """Of every row how much more it fires on a domain than on any other."""
        others = np.delete(self._shares, domain, axis=0)
        return np.maximum(0.0, self._shares[domain] - others.max(axis=0, initial=0.0))

    @cached_property
    def _names(self) -> list[str]:
        held = self.columns
        return [f"{held.sites[site]}:{number}" for site, number in zip(held.site, held.number, strict=True)]

    @cached_property
    def _place_of(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self._names)}

    def _affirmed(self, corrected: Mapping[str, str]) -> tuple[list[str], Int[np.ndarray, " parts"]]:
        """Each label once as it affirms, in lower case, and which of them a part has."""
        if self._labels is None or self._labels[0] != corrected:
            said = list(self.columns.label)
            for name, label in corrected.items():
                if name in self._place_of:
                    said[self._place_of[name]] = label
            known = {label: i for i, label in enumerate(dict.fromkeys(said))}
            said_of = [affirmed(label).lower() for label in known]
            self._labels = dict(corrected), said_of, np.asarray([known[label] for label in said])
        return self._labels[1], self._labels[2]

    def _scores(self, words: Sequence[str], corrected: Mapping[str, str]) -> Float[np.ndarray, " parts"]:
        """How well each row fits all words, 0 where one is neither in its label nor in its name."""
        affirmed, label = self._affirmed(corrected)
        sums, everywhere = np.zeros(len(self._density)), np.full(len(self._density), True)
        for word in words:
            fits = np.asarray([_fit(text, word) for text in affirmed])[label]
            named = np.asarray([word in site.lower() for site in self.columns.sites])[self._site]
            if re.search(r"[\d:]", word):  # else it stands in a name only where it stands in the site
                named = named | np.asarray([word in name.lower() for name in self._names])
            fits = np.where(fits > 0, fits, np.where(named, _PART_OF_NAME, 0))
            everywhere &= fits > 0
            sums += fits * (1 + self._excess_of_word(word))
        return np.where(everywhere, sums * (1 + self._confidence) / 2, 0.0)

    def _excess_of_word(self, word: str) -> Float[np.ndarray, " parts"] | float:
        """Where the word is a domain, how special to it each row is."""
        for place, domain in enumerate(self.columns.domains):
            if word in (domain, self.columns.names.get(domain, domain).lower()):
                return self._excess(place)
        return 0.0


def _fit(text: str, word: str) -> int:
    """How well a label fits a word: at the start of one of its words, inside one, not at all."""
    at = text.find(word)
    if at < 0:
        return 0
    return _WITHIN if at and text[at - 1].isalnum() else _BEGINS


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else -2  # -1 is that of no domain


def _descending(values: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Places from the largest value to the smallest, equals in their own order; in float32, as on the page."""
    return (-np.maximum(0, values).astype(np.float32)).argsort(kind="stable")
