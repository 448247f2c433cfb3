"""What a run of requests may cost: an estimate before it starts, and a cap that holds while it runs."""

from __future__ import annotations

import threading

from pydantic import Field

from rankone.core.config import Config
from rankone.text.corpus import LEAST_CHARS_PER_TOKEN

# What a chat template adds to a request.
_TEMPLATE_TOKENS = 64


class Caps(Config):
    """Prices in currency per million tokens, and the most that may be used; None caps nothing."""

    price_in: float = Field(default=0.0, ge=0, description="per million tokens in")
    price_out: float = Field(default=0.0, ge=0, description="per million tokens out")
    max_tokens: int | None = Field(default=None, ge=1, description="stop before this many tokens in all")
    max_cost: float | None = Field(default=None, gt=0, description="stop before this cost")

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        """Price of so many tokens."""
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6

    def allow(self, tokens_in: int, tokens_out: int) -> bool:
        """Whether a total of this much stays within the caps."""
        if self.max_tokens is not None and tokens_in + tokens_out > self.max_tokens:
            return False
        return self.max_cost is None or self.cost(tokens_in, tokens_out) <= self.max_cost


class Estimate(Config):
    """Requests that no cached reply answers, and the tokens they will likely take in and give out."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            requests=self.requests + other.requests,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
        )


def likely_tokens(text: str) -> int:
    """About how many tokens a prompt has; for the estimate."""
    return int(len(text) / LEAST_CHARS_PER_TOKEN) + _TEMPLATE_TOKENS


def most_tokens(text: str) -> int:
    """More tokens than a prompt can have: none is shorter than a byte. For the cap."""
    return len(text.encode("utf8", "replace")) + _TEMPLATE_TOKENS


class Budget:
    """Counts tokens over threads and refuses a request whose worst case would pass a cap.

    A request is reserved at its worst case and settled at what the server says it used. Where the server says nothing
    (a timeout after sending, a broken reply), the reservation stands: the server may have charged for it.
    """

    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self._lock = threading.Lock()
        self._used = [0, 0]
        self._reserved = [0, 0]
        self.refused = 0

    @property
    def used(self) -> tuple[int, int]:
        """Tokens in and out so far."""
        with self._lock:
            return self._used[0], self._used[1]

    @property
    def cost(self) -> float:
        """Price of the tokens so far."""
        return self.caps.cost(*self.used)

    def reserve(self, tokens_in: int, tokens_out: int) -> bool:
        """Set this much aside; False, and nothing set aside, if that could pass a cap."""
        with self._lock:
            together = [self._used[i] + self._reserved[i] for i in (0, 1)]
            if not self.caps.allow(together[0] + tokens_in, together[1] + tokens_out):
                self.refused += 1
                return False
            self._reserved[0] += tokens_in
            self._reserved[1] += tokens_out
            return True

    def settle(self, reserved: tuple[int, int], used: tuple[int, int]) -> None:
        """Give a reservation back and count what was really used."""
        with self._lock:
            for i in (0, 1):
                self._reserved[i] -= reserved[i]
                self._used[i] += used[i]
