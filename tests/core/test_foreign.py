"""Exceptions of other libraries become one line, each from its real origin."""

from __future__ import annotations

import resource

import pytest
import torch
from safetensors.torch import save_file
from tests.helpers import simple_mlp, tokenizer

from rankone.core.foreign import explained


def full_disk(folder):
    """A file may have 4,096 bytes at most: what a full disk looks like to its writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        save_file({"a": torch.ones(1 << 20)}, folder / "a.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def lone_surrogate(_):
    "\ud83d a".encode()


def invalid_bytes(_):
    b"a \xff".decode()


def id_past_the_embedding(_):
    simple_mlp()(torch.tensor([[999]]))


def no_such_file(_):
    open("/nowhere/at/all")  # noqa: SIM115


def too_large(_):
    torch.empty(1 << 60)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (full_disk, "room"),
        (lone_surrogate, "is no character"),
        (invalid_bytes, "byte 0xff at 2"),
        (id_past_the_embedding, "past the model's embedding"),
        (no_such_file, "No such file or directory at '/nowhere/at/all'"),
        (too_large, "out of memory"),
    ],
)
def test_every_kind_is_explained(work, said, tmp_path):
    with pytest.raises(Exception) as caught:
        work(tmp_path)
    line = explained(caught.value)
    assert line is not None, repr(caught.value)
    assert said in line
    assert "\n" not in line


def test_faults_of_ours_are_not_explained_away():
    for error in (
        KeyError("x"),
        AssertionError(),
        ZeroDivisionError(),
        IndexError("list index out of range"),
    ):
        assert explained(error) is None


def test_a_prompt_of_invalid_bytes_is_an_encoding_error():
    with pytest.raises((UnicodeEncodeError, TypeError)) as caught:
        tokenizer()("a \udcff")
    assert explained(caught.value) is not None
