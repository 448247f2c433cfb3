"""Scores by a judging model: intruder, detection and fuzzing.

A trial shows numbered windows and asks for the numbers of some of them. The judge sees only held-out examples, never those
that the label was written from.
- Intruder (no label needed): four windows of the part and one of another with similar density; which is it?
  Accuracy; chance is 0.2.
- Detection: given the label, in which of ten windows does the marked token belong to it? Five are firings, five are tokens
  of ordinary text. Balanced accuracy; chance is 0.5.
- Fuzzing: given the label, in which of seven windows are the right tokens marked? In two the marks have been moved to
  tokens that do not fire. Balanced accuracy; chance is 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import Field

from rankone.core.escaping import prompt_text
from rankone.harvest.reading.page import Example, PartPage
from rankone.labels.model.client import Question
from rankone.labels.model.quoting import DATA, data, pointed
from rankone.labels.model.reply import Reply
from rankone.labels.samples import shuffled, split_examples
from rankone.labels.statistics.background import Background, drawn
from rankone.labels.statistics.tokens import marks_starts

INTRUDER, DETECTION, FUZZING = "intruder", "detection", "fuzzing"
# Trials per part and score.
TRIALS = {INTRUDER: 10, DETECTION: 5, FUZZING: 5}
JUDGEMENT_TOKENS = 30
_OWN, _GROUP, _FUZZED_RIGHT, _FUZZED_WRONG = 4, 5, 5, 2
# An intruder comes from one of so many parts of the nearest density.
NEIGHBOURS = 10

_INTRO = (
    "A part of a neural language model fires on certain tokens. Below are numbered windows of text; "
    "<<token>> marks a token.\n\n" + DATA + "\n\n"
)
_ASK = {
    INTRUDER: "In all windows but one the marked token makes the same part fire; in one, the intruder, it makes another "
    'part fire. Reply with one JSON object: {"numbers": [the number of the intruder]}.',
    DETECTION: "You get a description of what the part fires on. Reply with one JSON object: "
    '{"numbers": [the numbers of all windows whose marked token fits the description]}; the list may be empty.',
    FUZZING: "You get a description of what the part fires on. In some windows the tokens it fires on are marked, in others "
    'tokens it does not fire on. Reply with one JSON object: {"numbers": [the numbers of all windows whose marks are '
    "right]}; the list may be empty.",
}


class Judgement(Reply):
    """Numbers of windows, from 1."""

    numbers: list[int] = Field(max_length=100)


@dataclass(frozen=True)
class Trial:
    """One question to the judge and its answer: the numbers (from 1, of `windows`) that belong in the reply."""

    part: str
    score: str
    question: Question
    truth: frozenset[int]
    windows: int

    def value(self, reply: Judgement) -> float:
        """Right or wrong for the intruder (1 or 0), else balanced accuracy over the windows; other numbers are ignored."""
        said = {n for n in reply.numbers if 1 <= n <= self.windows}
        if self.score == INTRUDER:
            return float(said == self.truth)
        others = set(range(1, self.windows + 1)) - self.truth
        return (len(said & self.truth) / len(self.truth) + len(others - said) / len(others)) / 2


def trials(
    page: PartPage,
    label: str,
    background: Background,
    neighbours: Sequence[str],
    read: Callable[[str], PartPage],
    threshold: float,
) -> list[Trial]:
    """All trials of one part that its held-out examples suffice for; the same every time.

    neighbours: other parts of like density, for intruders; read: gives the page of one of them; threshold:
    importance above which a token fires.
    """
    _, held_out = split_examples(page)
    spaced = marks_starts(page)
    made: list[Trial] = []
    for i in range(TRIALS[INTRUDER]):
        made += _intruder(page, held_out, neighbours, read, f"intruder:{page.part}:{i}", spaced)
    for i in range(TRIALS[DETECTION]):
        made += _detection(page, label, held_out, background, f"detection:{page.part}:{i}", spaced)
    for i in range(TRIALS[FUZZING]):
        made += _fuzzing(page, label, held_out, f"fuzzing:{page.part}:{i}", spaced, threshold)
    return made


def _trial(
    page: PartPage, score: str, label: str | None, windows: list[tuple[str, bool]], seed: str
) -> Trial:
    """Number the windows in an order set by `seed`; the flag says which belong in the reply."""
    ordered = shuffled(windows, f"order:{seed}")
    lines = [f"{i}. {text}" for i, (text, _) in enumerate(ordered, 1)]
    if label is not None:
        lines.insert(0, f"description: {prompt_text(label)}")
    question = Question(_INTRO + _ASK[score], data(lines) + "\n\nReply in JSON.", Judgement)
    truth = frozenset(i for i, (_, belongs) in enumerate(ordered, 1) if belongs)
    return Trial(page.part, score, question, truth, len(ordered))


def _intruder(
    page: PartPage,
    held_out: Sequence[Example],
    neighbours: Sequence[str],
    read: Callable[[str], PartPage],
    seed: str,
    spaced: bool,
) -> list[Trial]:
    firing = drawn(held_out, _OWN, seed)
    for other in shuffled(neighbours, seed):
        strange = drawn(read(other).examples, 1, seed)
        if strange and len(firing) == _OWN:
            windows = [(pointed(e, spaced), False) for e in firing] + [(pointed(strange[0], spaced), True)]
            return [_trial(page, INTRUDER, None, windows, seed)]
    return []


def _detection(
    page: PartPage,
    label: str,
    held_out: Sequence[Example],
    background: Background,
    seed: str,
    spaced: bool,
) -> list[Trial]:
    firing, others = drawn(held_out, _GROUP, seed), drawn(background.others(page.part), _GROUP, seed)
    if len(firing) < _GROUP or len(others) < _GROUP:
        return []
    windows = [(pointed(e, spaced), True) for e in firing] + [(pointed(e, spaced), False) for e in others]
    return [_trial(page, DETECTION, label, windows, seed)]


def _fuzzing(
    page: PartPage, label: str, held_out: Sequence[Example], seed: str, spaced: bool, threshold: float
) -> list[Trial]:
    movable = [e for e in held_out if len(_silent(e, threshold)) >= len(_firing(e, threshold))]
    chosen = drawn(movable, _FUZZED_RIGHT + _FUZZED_WRONG, seed)
    if len(chosen) < _FUZZED_RIGHT + _FUZZED_WRONG:
        return []
    windows: list[tuple[str, bool]] = []
    for i, example in enumerate(chosen):
        firing, right = _firing(example, threshold), i < _FUZZED_RIGHT
        moved = shuffled(_silent(example, threshold), f"marks:{seed}:{i}")[: len(firing)]
        windows.append((pointed(example, spaced, firing if right else moved), right))
    return [_trial(page, FUZZING, label, windows, seed)]


def _firing(example: Example, threshold: float) -> list[int]:
    return [i for i, g in enumerate(example.importances) if g > threshold or i == example.centre]


def _silent(example: Example, threshold: float) -> list[int]:
    return [i for i, g in enumerate(example.importances) if g <= threshold and i != example.centre]
