"""Numbers that are hashed to random ones: whoever draws, in whatever order, a thing with the same number draws the same.

SplitMix64 (Steele, Lea & Flood 2014): add the golden ratio's fraction, then a finaliser of three steps, all bits of whose
result depend on all bits of what goes in. For one number in Python, and for tensors of them.
"""

from __future__ import annotations

from jaxtyping import Int, Int64
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
# Of the finaliser: shift to the right, exclusive or, multiply; the last step multiplies by one.
_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
_WORD = (1 << 64) - 1


def mixed(*numbers: int) -> int:
    """A 63-bit seed from small integers, all bits of which depend on all of them: hashed one after the other."""
    return _state(*numbers) >> 1


def _state(*numbers: int) -> int:
    state = 0
    for number in numbers:
        state = (state + number + GOLDEN) & _WORD
        for shift, factor in _STEPS:
            state = ((state ^ (state >> shift)) * factor) & _WORD
    return state


def mixed_each(*numbers: int, last: Int[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """`mixed(*numbers, n)` of every n ≥ 0 in `last`, on its device."""
    state = signed(_state(*numbers) + GOLDEN)
    return shifted(finalised(last + state), 1)


def finalised(numbers: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """The finaliser of each number, as 64 bits with a sign."""
    for shift, factor in _STEPS:
        numbers = (numbers ^ shifted(numbers, shift)) * signed(factor)
    return numbers


def shifted(numbers: Int[Tensor, "*n"], bits: int) -> Int[Tensor, "*n"]:
    """Logical shift to the right; int64's own keeps the sign."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)


def signed(number: int) -> int:
    """The same 64 bits as a number with a sign, as tensors hold them."""
    number &= _WORD
    return number - (1 << 64) if number >> 63 else number
