"""What the installed PyTorch was built for, read from its version file: importing it takes seconds."""

from __future__ import annotations

import ast
import ctypes
import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def build() -> dict[str, str | None]:
    """`__version__`, `cuda`, `hip` of the installed PyTorch; without what its version file does not say."""
    spec = find_spec("torch")
    return {} if spec is None or spec.origin is None else stated(Path(spec.origin).with_name("version.py"))


def stated(file: Path) -> dict[str, str | None]:
    """The names that a version file sets to a string or None; empty where it cannot be read."""
    try:
        tree = ast.parse(file.read_text("utf8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return {}
    return {name: value for line in tree.body for name, value in _assigned(line)}


def no_gpu(said: Mapping[str, str | None], environment: Mapping[str, str] = os.environ) -> str:
    """Why a PyTorch of this build certainly finds no GPU for CUDA here; '' where only it can tell."""
    if "cuda" in said and said["cuda"] is None and said.get("hip") is None:
        return f"the installed PyTorch ({said.get('__version__')}) is built without CUDA"
    if said.get("cuda") and environment.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU"
    if said.get("cuda") and sys.platform == "linux" and not _has_driver():
        return "NVIDIA's driver is not installed"
    return ""


def _has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _assigned(line: ast.stmt) -> list[tuple[str, str | None]]:
    """Names that a line gives a string or None, with or without a type."""
    if isinstance(line, ast.Assign):
        targets = line.targets
    elif isinstance(line, ast.AnnAssign):
        targets = [line.target]
    else:
        return []
    value = line.value.value if isinstance(line.value, ast.Constant) else ...
    if not isinstance(value, str | None):
        return []
    return [(target.id, value) for target in targets if isinstance(target, ast.Name)]
