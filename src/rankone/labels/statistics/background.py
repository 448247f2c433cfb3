"""Positions in ordinary text to compare firings with, from the windows that a harvest has stored."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rankone.harvest.reading.page import Example, PartPage
from rankone.labels.pages import Pages
from rankone.labels.samples import shuffled

SIZE = 2000
# Windows of one part that are drawn from: enough to mix, few enough to pass over thousands of parts quickly.
_PER_PART = 20
# Subcomponents whose windows are drawn from: many enough, and not all have to be read before the first is scored.
_SOURCES = 300


class Background:
    """A weighted sample of windows over the parts added, each centred on a random token other than its firing.

    A stored example of a part stands for firings / examples of its firings, so that its windows are drawn with
    that weight (Efraimidis and Spirakis 2006, keys u^(1/w)): the sample is spread over the text as firings are, not as the
    parts' stored examples happen to be. Where many parts fire, text is drawn somewhat more often.
    """

    def __init__(self, size: int = SIZE, seed: int = 0) -> None:
        self._size, self._random = size, np.random.default_rng(seed)
        self._heap: list[tuple[float, int, str, Example]] = []
        self._seen = 0
        self._ordered: list[tuple[str, Example]] | None = None

    def add(self, page: PartPage) -> None:
        """Let the windows of one part take part."""
        self._ordered = None
        windows = [e for e in page.examples if len(e.tokens) > 1]
        chosen = shuffled(windows, f"background:{page.part}")[:_PER_PART]
        for example in chosen:
            weight = max(page.firings, 1) / len(chosen)
            key = float(np.log(self._random.random() or 1e-300) / weight)
            place = int(self._random.integers(len(example.tokens) - 1))
            moved = replace(example, centre=place + (place >= example.centre))
            self._seen += 1
            heapq.heappush(self._heap, (key, self._seen, page.part, moved))
            if len(self._heap) > self._size:
                heapq.heappop(self._heap)

    def others(self, part: str) -> list[Example]:
        """The sample without the windows of one part, in a fixed order."""
        if self._ordered is None:
            self._ordered = [entry[2:] for entry in sorted(self._heap, key=lambda entry: entry[1])]
        return [example for owner, example in self._ordered if owner != part]


def background_of(pages: Pages) -> Background:
    """A sample from the windows of some hundred parts of a harvest, chosen at random but always the same."""
    background = Background()
    for name in shuffled(pages.names(), "sources")[:_SOURCES]:
        background.add(pages.page(name))
    return background


def alike(firings: Mapping[str, int], part: str, count: int) -> list[str]:
    """The `count` other parts that fire whose number of firings is nearest, by ratio, to this one's."""
    firing = max(firings[part], 1)
    others = [(abs(np.log(n / firing)), name) for name, n in firings.items() if name != part and n > 0]
    return [name for _, name in heapq.nsmallest(count, others)]


def drawn(items: Sequence[Example], count: int, seed: str) -> list[Example]:
    """`count` of the items, without repeats, chosen by `seed`; fewer if there are fewer."""
    return shuffled(items, seed)[:count]
