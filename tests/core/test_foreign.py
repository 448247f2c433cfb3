"""Exceptions of other libraries become one line, each from its real origin."""

from __future__ import annotations

import re

import pytest
import torch
from tests.foreign_kinds import KINDS
from transformers import AutoConfig

from rankone.core.errors import PeerError, RankOneError
from rankone.core.foreign import explained, one_error_type


@pytest.mark.parametrize("raising", KINDS, ids=lambda f: f.__name__)
def test_every_kind_is_explained(raising, tmp_path):
    with pytest.raises(BaseException) as caught:
        raising(tmp_path)
    line = explained(caught.value)
    assert line is not None, repr(caught.value)
    assert re.search(KINDS[raising], line), line
    assert "\n" not in line


FAULTS = (KeyError("x"), AssertionError(), ZeroDivisionError(), IndexError("list index out of range"))


@pytest.mark.parametrize("error", [*FAULTS, KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_faults_of_ours_and_interrupts_are_not_explained_away(error):
    assert explained(error) is None
    with pytest.raises(type(error)), one_error_type("measure"):
        raise error


def test_the_boundary_names_what_was_asked_and_keeps_the_cause():
    said = r"^measure: a connection failed: timed out\."
    with pytest.raises(RankOneError, match=said) as caught, one_error_type("measure"):
        raise TimeoutError("timed out")
    assert isinstance(caught.value.__cause__, TimeoutError)


@pytest.mark.parametrize("error", [RankOneError("as it is"), PeerError("as it is")])
def test_our_own_errors_pass_as_they_are(error):
    with pytest.raises(RankOneError) as caught, one_error_type("measure"):
        raise error
    assert caught.value is error


def test_what_a_library_raises_of_the_interpreters_own_is_told_by_where_it_was_raised():
    """transformers and torch say ValueError and RuntimeError; raised by our own lines they stay faults."""

    def of_transformers():
        AutoConfig.for_model("none")

    def of_torch():
        torch.nn.Linear(2, 2)(torch.ones(3))

    def ours():
        assert torch.ones(2) @ torch.ones(3)

    for raising, library in ((of_transformers, "transformers"), (of_torch, "torch")):
        said = f"^generate: {library} refused what it was given"
        with pytest.raises(RankOneError, match=said), one_error_type("generate"):
            raising()
    with pytest.raises(RuntimeError) as caught, one_error_type("generate"):
        ours()
    assert not isinstance(caught.value, RankOneError)
