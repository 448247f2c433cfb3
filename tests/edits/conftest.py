"""Verification in this process."""

from __future__ import annotations

import sys

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from rankone.edits import consumer, consumption
from rankone.models.simple_mlp import SimpleMLPConfig, SimpleMLPForCausalLM


@pytest.fixture
def here(monkeypatch):
    """Verify in this process: a fresh one costs seconds, and three tests below start one."""

    def run(instructions, _scratch):
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

    monkeypatch.setattr(consumption, "run_consumer", run)
