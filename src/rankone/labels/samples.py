"""Which examples of a part are read for its label and which are kept to score the label."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from rankone.harvest.reading.page import Example, PartPage

T = TypeVar("T")
SHOWN = 30


def shuffled(items: Sequence[T], seed: str) -> list[T]:
    """The items in an order that depends on `seed` and their number alone."""
    order = sorted(range(len(items)), key=lambda i: hashlib.sha256(f"{seed}:{i}".encode()).digest())
    return [items[i] for i in order]


def split_examples(page: PartPage) -> tuple[list[Example], list[Example]]:
    """(at most SHOWN to label with, the rest to score with); at least half are kept for scoring."""
    examples = shuffled(page.examples, page.part)
    shown = min(SHOWN, (len(examples) + 1) // 2)
    return examples[:shown], examples[shown:]
