"""How a store grows beyond what was measured: its bound when all is full, and the text at which it reaches a size.

Both are extrapolations from a harvest's rows and bytes, by table. Windows are predicted from the firings of every
subcomponent. Tokens, output tokens and pairs grow by the power of the text that they grew by between the last two sizes
measured, up to what there can be. The text itself takes its bytes a token; the rest does not grow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# No text is longer.
LONGEST = 10**13


@dataclass(frozen=True)
class Table:
    """A table that grows: bytes a row, rows at the text measured, the power of the text, and the most rows."""

    row_bytes: float
    rows: int
    power: float
    most: int


@dataclass(frozen=True)
class Growth:
    """What is known of a store at `tokens` of text: its tables, the windows, bytes that stay, firings of what fires."""

    tokens: int
    tables: dict[str, Table]
    window_bytes: float
    examples: int
    text_bytes: float
    fixed_bytes: int
    firings: np.ndarray

    def bytes_at(self, tokens: float) -> float:
        """Bytes of the store at so much text."""
        ratio = tokens / self.tokens
        windows = np.minimum(self.firings * ratio, self.examples).sum()
        grown = sum(t.row_bytes * min(t.rows * ratio**t.power, t.most) for t in self.tables.values())
        return self.fixed_bytes + self.text_bytes * tokens + self.window_bytes * float(windows) + grown

    def bounds(self) -> dict[str, float]:
        """Bytes of each table, and of all windows, when every row there can be is there."""
        found = {name: t.row_bytes * t.most for name, t in self.tables.items()}
        return found | {"examples": self.window_bytes * self.examples * len(self.firings)}

    def tokens_at(self, size: float) -> float | None:
        """The text at which the store has `size` bytes; None where it never has."""
        low, high = 1.0, float(LONGEST)
        if self.bytes_at(high) < size:
            return None
        for _ in range(100):
            middle = (low * high) ** 0.5
            low, high = (low, middle) if self.bytes_at(middle) > size else (middle, high)
        return high


def power(tokens: tuple[int, int], rows: tuple[int, int]) -> float:
    """The power of the text that rows grew by from one size to another."""
    return float(np.log(rows[1] / rows[0]) / np.log(tokens[1] / tokens[0]))
