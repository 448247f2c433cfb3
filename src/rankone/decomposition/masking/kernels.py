"""Compiling an element-wise function once, where a recipe asks for it and the machine can."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from rankone.runtime.progress import log

P = ParamSpec("P")
R = TypeVar("R")


@functools.cache
def kernel(function: Callable[P, R], compiled: bool) -> Callable[P, R]:
    """The function itself, or compiled for each shape it is given (on the CPU some seconds per kernel and shape)."""
    return torch.compile(function, dynamic=False) if compiled and _has_compiler() else function


@functools.cache
def _has_compiler() -> bool:
    """Whether there is a C++ compiler, which kernels for the CPU and launchers for the GPU are built with."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "cl"]
    present = any(shutil.which(name) for name in names)
    if not present:
        log.warning("no C++ compiler: element-wise kernels run uncompiled, and steps take longer.")
    return present
