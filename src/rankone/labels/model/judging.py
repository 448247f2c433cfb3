"""Scores by a judging model: intruder, detection and fuzzing.

A trial shows numbered windows and asks for the numbers of some of them. The judge sees only held-out examples, never those
that the label was written from.
- Intruder (no label needed): four windows of the subcomponent and one of another with similar density; which is it?
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
from rankone.harvest.reading.page import ComponentPage, Example
from rankone.labels.model.client import Question
from rankone.labels.model.quoting import DATA, data, pointed
from rankone.labels.model.reply import Reply
from rankone.labels.samples import shuffled, split_examples
from rankone.labels.statistics.background import Background, drawn
from rankone.labels.statistics.tokens import marks_starts

INTRUDER, DETECTION, FUZZING = "intruder", "detection", "fuzzing"
CHANCE = {INTRUDER: 0.2, DETECTION: 0.5, FUZZING: 0.5}
# Trials per subcomponent and score.
TRIALS = {INTRUDER: 10, DETECTION: 5, FUZZING: 5}
JUDGEMENT_TOKENS = 30
_OWN, _GROUP, _FUZZED_RIGHT, _FUZZED_WRONG = 4, 5, 5, 2
# An intruder comes from one of so many subcomponents of the nearest density.
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

    component: str
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
    page: ComponentPage,
    label: str,
    background: Background,
    neighbours: Sequence[str],
    read: Callable[[str], ComponentPage],
    threshold: float,
) -> list[Trial]:
    """All trials of one subcomponent that its held-out examples suffice for; the same every time.

    neighbours: other subcomponents of like density, for intruders; read: gives the page of one of them; threshold:
    importance above which a token fires.
    """
    _, held_out = split_examples(page)
    spaced = marks_starts(page)
    found: list[Trial] = []
    for i in range(TRIALS[INTRUDER]):
        found += _intruder(page, held_out, neighbours, read, f"intruder:{page.component}:{i}", spaced)
    for i in range(TRIALS[DETECTION]):
        found += _detection(page, label, held_out, background, f"detection:{page.component}:{i}", spaced)
    for i in range(TRIALS[FUZZING]):
        found += _fuzzing(page, label, held_out, f"fuzzing:{page.component}:{i}", spaced, threshold)
    return found


def _trial(
    page: ComponentPage, score: str, label: str | None, parts: list[tuple[str, bool]], seed: str
) -> Trial:
    """Number the windows in an order set by `seed`; the flag says which belong in the reply."""
    ordered = shuffled(parts, f"order:{seed}")
    lines = [f"{i}. {text}" for i, (text, _) in enumerate(ordered, 1)]
    if label is not None:
        lines.insert(0, f"description: {prompt_text(label)}")
    question = Question(_INTRO + _ASK[score], data(lines) + "\n\nReply in JSON.", Judgement)
    truth = frozenset(i for i, (_, belongs) in enumerate(ordered, 1) if belongs)
    return Trial(page.component, score, question, truth, len(ordered))


def _intruder(
    page: ComponentPage,
    held_out: Sequence[Example],
    neighbours: Sequence[str],
    read: Callable[[str], ComponentPage],
    seed: str,
    spaced: bool,
) -> list[Trial]:
    own = drawn(held_out, _OWN, seed)
    for other in shuffled(neighbours, seed):
        strange = drawn(read(other).examples, 1, seed)
        if strange and len(own) == _OWN:
            parts = [(pointed(e, spaced), False) for e in own] + [(pointed(strange[0], spaced), True)]
            return [_trial(page, INTRUDER, None, parts, seed)]
    return []


def _detection(
    page: ComponentPage,
    label: str,
    held_out: Sequence[Example],
    background: Background,
    seed: str,
    spaced: bool,
) -> list[Trial]:
    own, others = drawn(held_out, _GROUP, seed), drawn(background.others(page.component), _GROUP, seed)
    if len(own) < _GROUP or len(others) < _GROUP:
        return []
    parts = [(pointed(e, spaced), True) for e in own] + [(pointed(e, spaced), False) for e in others]
    return [_trial(page, DETECTION, label, parts, seed)]


def _fuzzing(
    page: ComponentPage, label: str, held_out: Sequence[Example], seed: str, spaced: bool, threshold: float
) -> list[Trial]:
    movable = [e for e in held_out if len(_silent(e, threshold)) >= len(_firing(e, threshold))]
    chosen = drawn(movable, _FUZZED_RIGHT + _FUZZED_WRONG, seed)
    if len(chosen) < _FUZZED_RIGHT + _FUZZED_WRONG:
        return []
    parts: list[tuple[str, bool]] = []
    for i, example in enumerate(chosen):
        firing, right = _firing(example, threshold), i < _FUZZED_RIGHT
        moved = shuffled(_silent(example, threshold), f"marks:{seed}:{i}")[: len(firing)]
        parts.append((pointed(example, spaced, firing if right else moved), right))
    return [_trial(page, FUZZING, label, parts, seed)]


def _firing(example: Example, threshold: float) -> list[int]:
    return [i for i, g in enumerate(example.importances) if g > threshold or i == example.centre]


def _silent(example: Example, threshold: float) -> list[int]:
    return [i for i, g in enumerate(example.importances) if g <= threshold and i != example.centre]
