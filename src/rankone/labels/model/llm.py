"""Labels by a language model: what it is told about a part, and what it has to reply."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from rankone.core.escaping import clipped, prompt_text
from rankone.harvest.reading.page import PartPage, TokenRow
from rankone.labels.label import Label
from rankone.labels.model.client import Question
from rankone.labels.model.quoting import DATA, annotated, data, domain_lines, token_line
from rankone.labels.model.reply import Reply
from rankone.labels.samples import split_examples
from rankone.labels.statistics.tokens import marks_starts

# What a label usually takes, for the estimate: a few words and two sentences.
LABEL_TOKENS = 150
_LABEL_LENGTH, _REASONING_LENGTH = 90, 600

SYSTEM = f"""You describe what one small part of a neural language model does.

The weight matrices of the model were split into rank-one parts, u vᵀ each. A part reads the direction v from its input and
writes the direction u. Its importance at a token is between 0 and 1: how much the model's prediction there needs it. Its
activation is the signed size of what it writes; activation and importance differ, and the sign can carry meaning. A part
"fires" where its importance is above the threshold.

You get: where it sits; how often it fires; how often per kind of text; the tokens it fires on (recall: share of the token's
occurrences on which it fires; precision: share of its firings that are on this token; PMI in nats); the tokens the model
predicts more than usual where it fires; and windows of text with every firing token marked <<token|importance>> (at most
12 marks in one window).

{DATA}

Name what is particular to this part in at most 8 words: what it fires on and, if the evidence shows it, what that leads to.
Prefer the narrowest description that covers most examples. Do not write that it "detects" or "processes", nor "various" or
"general". If the examples share nothing, say "unclear" and give a low confidence.

Reply with one JSON object: {{"label": string of at most 8 words, "reasoning": two sentences at most, "confidence": number
from 0 to 1, your probability that the label would let a person tell its firings from other tokens}}."""


class LabelReply(Reply):
    """What a labelling model has to send."""

    label: str = Field(min_length=1, max_length=200)
    reasoning: str = Field(max_length=4000)
    confidence: float = Field(ge=0, le=1)

    def as_label(self, part: str, model: str) -> Label:
        """The label, its words made inert and short: a reply is no more to be trusted than a corpus."""
        return Label(
            part,
            clipped(self.label, _LABEL_LENGTH),
            self.confidence,
            clipped(model, _LABEL_LENGTH),
            clipped(self.reasoning, _REASONING_LENGTH),
        )


def label_question(page: PartPage, threshold: float) -> Question:
    """Ask for the label of one part; shown are the examples that are not kept for scoring."""
    spaced = marks_starts(page)
    shown, _ = split_examples(page)
    lines = [
        f"part {prompt_text(page.part)}",
        f"fires on {page.firings} of {page.tokens} tokens; threshold {threshold:g}; "
        f"mean importance {page.mean_importance:.2g}, mean activation {page.mean_activation:+.2g}",
        *domain_lines(page),
        *_token_lines(page),
        *(f"{i}. {annotated(example, threshold, spaced)}" for i, example in enumerate(shown, 1)),
    ]
    return Question(SYSTEM, data(lines) + "\n\nWhat is particular to this part? Reply in JSON.", LabelReply)


def _token_lines(page: PartPage) -> list[str]:
    inputs = page.input_tokens
    return [
        token_line("input tokens by recall", _top(inputs, lambda r: r.recall, 8), lambda r: r.recall),
        token_line(
            "input tokens by precision", _top(inputs, lambda r: r.precision, 8), lambda r: r.precision
        ),
        token_line("input tokens by PMI", inputs[:6], lambda r: r.pmi),
        token_line("predicted tokens by PMI", page.output_tokens[:10], lambda r: r.pmi),
    ]


def _top(rows: list[TokenRow], value: Callable[[TokenRow], float], count: int) -> list[TokenRow]:
    return sorted(rows, key=lambda row: (-value(row), row.token_id))[:count]
