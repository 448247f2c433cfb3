"""What pydantic would take for something else is refused wherever it stands, and named by its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import Field

from rankone.core.config import Config
from rankone.core.errors import RankOneError


class Inner(Config):
    rate: float = 1.0
    on: bool = False


class Outer(Config):
    count: int = 1
    rates: dict[str, float] = Field(default_factory=dict)
    steps: tuple[int, ...] = ()
    inner: Inner = Inner()
    several: list[Inner] = Field(default_factory=list)
    either: bool | float = 1.0
    place: Path | None = None
    text: str = "x"


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"count": True}, "count"),
        ({"count": False}, "count"),
        ({"count": np.True_}, "count"),
        ({"rates": {"a": 2, "b.c": torch.tensor(True)}}, "rates.b.c"),
        ({"steps": [1, True]}, "steps.1"),
        ({"inner": {"rate": True}}, "inner.rate"),
        ({"several": [{}, {"rate": True}]}, "several.1.rate"),
    ],
)
def test_true_and_false_are_no_numbers(values, place):
    with pytest.raises(RankOneError, match=rf"^here: {place}: must be a number, not true or false.*got "):
        Outer.checked(values, "here")


def test_an_empty_path_is_not_the_current_folder():
    with pytest.raises(RankOneError, match=r"here: place: is empty: name a path"):
        Outer.checked({"place": ""}, "here")
    assert Outer.checked({"place": "."}, "here").place == Path()


def test_what_is_meant_stays():
    values = {
        "count": np.int64(3),
        "rates": {"a": np.float32(0.5)},
        "inner": {"on": True},
        "several": [Inner(on=True)],
        "either": True,
        "text": "",
    }
    made = Outer.checked(values, "here")
    assert (made.count, made.rates, made.inner.on, made.either) == (3, {"a": 0.5}, True, True)
    assert Outer.checked({"inner": made.inner, "steps": ()}, "here").inner is made.inner
