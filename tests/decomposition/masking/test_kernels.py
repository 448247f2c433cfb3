"""Kernels are compiled where that is asked for and possible."""

from __future__ import annotations

import shutil
from functools import partial

import pytest
import torch

from rankone.decomposition.masking import kernels


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """No kernel is remembered from another test, and compiling only leaves a mark."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: partial(function))
    for cached in (kernels.kernel, kernels._has_compiler):
        cached.cache_clear()
    yield
    for cached in (kernels.kernel, kernels._has_compiler):
        cached.cache_clear()


def double(x):
    return 2 * x


def test_compiled_on_request_and_once(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    assert kernels.kernel(double, False) is double
    assert kernels.kernel(double, True).func is double
    assert kernels.kernel(double, True) is kernels.kernel(double, True)


def test_without_a_compiler_the_function_itself_and_a_line_that_says_so(monkeypatch, caplog):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert kernels.kernel(double, True) is double
    assert kernels.kernel(abs, True) is abs
    assert caplog.text.count("no C++ compiler") == 1


def test_the_compiler_of_the_environment_counts_alone(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "mine" else name)
    monkeypatch.setenv("CXX", "mine")
    assert kernels.kernel(double, True) is double
