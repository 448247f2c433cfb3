"""Asks the real consumer of an export for its logits: consumer.py, in a process isolated from RankOne and its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.core.tensors import read_tensors, save_tensors, unmapped
from rankone.edits.verification import Form, Logits

_SCRIPT = Path(__file__).with_name("consumer.py")
# Packages that the consumer cannot import.
BLOCKED = ("rankone",)


class Consumed(NamedTuple):
    """What read the export ('none' where PEFT is not installed), and its logits: of an adapter, beside and merged."""

    engine: str
    logits: Logits | None = None
    merged: Logits | None = None


def consume(
    kind: Form,
    path: Path,
    ids: Int[Tensor, "rows length"],
    scratch: Path,
    base: Path | None,
    trust_code: bool,
) -> Consumed:
    """Load the export in a fresh process, offline; RankOneError with its reason where it does not load."""
    scratch = scratch.absolute()  # the process is started there
    tensors, out, said = (scratch / name for name in ("ids.safetensors", "out.safetensors", "said.json"))
    save_tensors(tensors, {"ids": ids})
    asked = {
        "kind": kind,
        "path": str(path.absolute()),
        "base": None if base is None else str(base.absolute()),
        "tensors": str(tensors),
        "out": str(out),
        "said": str(said),
        "trust_code": trust_code,
        "paths": _package_paths(),
        "blocked": list(BLOCKED),
    }
    instructions = scratch / "instructions.json"
    instructions.write_text(json.dumps(asked), "utf8")
    reason = run_consumer(instructions, scratch)
    if reason is not None:
        raise RankOneError(f"the exported {kind} does not load again, so it was not written: {reason}")
    engine = json.loads(said.read_text("utf8"))["engine"]
    return Consumed(engine, **unmapped(read_tensors(out))) if out.exists() else Consumed(engine)


def run_consumer(instructions: Path, scratch: Path) -> str | None:
    """Run consumer.py isolated (-I: no current folder, no PYTHONPATH); None when it went well, else its last error line."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_MODULES_CACHE": str(scratch / "modules"),
    }
    command = [sys.executable, "-I", str(_SCRIPT), str(instructions)]
    done = subprocess.run(
        command, env=environment, cwd=scratch, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def _package_paths() -> list[str]:
    """Where this process finds packages, after those of the interpreter itself; never where it was started."""
    here = Path.cwd().resolve()
    entries = [Path(entry) for entry in sys.path if entry and Path(entry).is_absolute()]
    return [str(path) for path in entries if path.exists() and path.resolve() != here]
