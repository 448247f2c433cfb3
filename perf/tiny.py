"""Recipes of a tiny model, for what is killed and resumed: a few hundred short steps."""

from __future__ import annotations

from typing import Any

MIXTURE = {"en": {"weight": 2}, "de": {"weight": 1}}
IMPORTANCE = {"width": 16, "blocks": 1, "heads": 2, "hidden": 16}
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


def pretrain(tokens: int, **changes: object) -> dict[str, Any]:
    """A recipe with one preset, 'tiny', that reads so many tokens."""
    tiny = {**SIZES, "tokens": tokens, "batch_rows": 4, "learning_rate": 0.01}
    fixed = {"vocab_size": 320, "context": 16, "mixture": MIXTURE, "checkpoint_every": 4, "warmup_steps": 5}
    return {**fixed, "presets": {"tiny": tiny}, **changes}


def decompose(steps: int) -> dict[str, Any]:
    """A recipe of so many steps, with a checkpoint at every fourth."""
    fixed = {"rows": 2, "context": 16, "initialisation": "aligned", "compile": False, "checkpoint_every": 4}
    return {"mixture": MIXTURE, "importance": IMPORTANCE, "steps": steps, **fixed}
