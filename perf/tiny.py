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


def transcoders(tokens: int) -> dict[str, Any]:
    """A recipe of two transcoders, with a checkpoint at every fourth step."""
    coders = [{"latents": 8, "k": 2}, {"latents": 8, "k": 2, "objective": "kl"}]
    return {"tokens": tokens, "batch": 64, "context": 16, "checkpoint_every": 4, "coders": coders}


def bench(methods: list[str], **changes: object) -> dict[str, Any]:
    """A recipe of a benchmark of these methods on MODEL and DEC, or of a report; few tokens and steps."""
    fixed = {"model": "MODEL", "decomposition": "DEC", "trained": ["de", "en"], "evaluated": ["de", "en"]}
    runs = {"retain": {"english": ["en"]}, "methods": methods, "budgets": [4], "seeds": 1, "tuning_seeds": 1}
    sizes = {"selection_tokens": 800, "candidates": 2, "pick_tokens": 30, "retain_tokens": 60}
    sizes |= {"retain_length": 16, "validation_tokens": 30, "test_tokens": 40}
    fit = {"weights": [1.0], "fit": {"steps": 2, "target": "sampled"}, "prompts": {"de": ["Der"]}}
    return {**fixed, **runs, **sizes, **fit, **changes}
