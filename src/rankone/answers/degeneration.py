"""Whether an answer has degenerated: nothing said, the same over and over, or in a language nobody asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from rankone.answers.language import language_of
from rankone.core.config import Config

Fault = Literal["empty", "loop", "repetition", "language"]
# Share of repeated 3-grams from which text counts as repetition; human text of this length has almost none.
MOST_REPEATED = 0.5
# A loop: the answer ends in at least 4 rounds of the same few pieces, 8 pieces in all.
LEAST_ROUNDS, LEAST_LOOPED, LONGEST_PERIOD = 4, 8, 12
_PIECES = re.compile(r"\w+|[^\w\s]")


class Signs(Config):
    """What was measured of one answer.

    pieces: words and signs. repeated: share of 3-grams of pieces that stood before, 1 − distinct / all (Welleck et al. 2020,
    seq-rep-n). looped: share of the answer that is the loop it ends in. language: of the text, None where it is too short or
    the guess unsure. faults: why it counts as degenerate; none for a sound answer.
    """

    pieces: int
    repeated: float
    looped: float
    language: str | None
    faults: tuple[Fault, ...]

    @property
    def degenerate(self) -> bool:
        """Whether anything is wrong with it."""
        return bool(self.faults)


def signs(text: str, expected: Sequence[str] = (), code: bool = False) -> Signs:
    """Measure an answer. expected: languages a sound one may be in (empty: any).

    With `code` the language is not judged, and nor is repetition short of a loop: code repeats itself.
    """
    pieces = _PIECES.findall(text.lower())
    repeated, looped = repeated_share(pieces), looped_share(pieces)
    guess = None if code else language_of(text)
    faults: list[Fault] = []
    if not pieces:
        faults.append("empty")
    if looped > 0:
        faults.append("loop")
    elif repeated > MOST_REPEATED and not code:
        faults.append("repetition")
    if guess is not None and expected and guess.language not in expected:
        faults.append("language")
    return Signs(
        pieces=len(pieces),
        repeated=repeated,
        looped=looped,
        language=None if guess is None else guess.language,
        faults=tuple(faults),
    )


def repeated_share(pieces: Sequence[str], n: int = 3) -> float:
    """1 − distinct n-grams / n-grams; 0 for fewer than n pieces."""
    grams = [tuple(pieces[i : i + n]) for i in range(len(pieces) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def looped_share(pieces: Sequence[str]) -> float:
    """Share of the pieces in the loop that the text ends in, 0 where it ends in none.

    A loop of period p is a run in which every piece equals the one p before it: at least 4 rounds and 8 pieces. Greedy
    decoding that has come into one stays in it.
    """
    longest = 0
    for period in range(1, LONGEST_PERIOD + 1):
        run = period
        while run < len(pieces) and pieces[-run - 1] == pieces[-run - 1 + period]:
            run += 1
        if run >= max(LEAST_ROUNDS * period, LEAST_LOOPED):
            longest = max(longest, run)
    return longest / len(pieces) if pieces else 0.0
