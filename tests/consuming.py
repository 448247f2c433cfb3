"""The consumer of an export, run in the process of a test: a fresh one costs seconds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from rankone.edits import consumer, consumption
from rankone.models.simple_mlp import SimpleMLPConfig, SimpleMLPForCausalLM


def consume_here(patch: pytest.MonkeyPatch) -> None:
    """From now on exports are verified in this process."""
    patch.setattr(consumption, "run_consumer", _run)


def _run(instructions: Path, _scratch: Path) -> str | None:
    try:
        consumer.main(instructions)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, consumer._Blocked)]
        # Older transformers register what a folder's own code defines, in place of ours.
        AutoConfig.register("rankone_simple_mlp", SimpleMLPConfig, exist_ok=True)
        AutoModelForCausalLM.register(SimpleMLPConfig, SimpleMLPForCausalLM, exist_ok=True)
    return None
