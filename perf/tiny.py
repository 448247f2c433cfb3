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


def job(**changes: object) -> dict[str, Any]:
    """A recipe of the main job on MODEL and DEC, few tokens and steps."""
    fixed = {"model": "MODEL", "decomposition": "DEC", "trained": ["de", "en"], "evaluated": ["de", "en"]}
    sizes = {"seeds": 1, "selection_tokens": 800, "candidates": 2, "pick_tokens": 30, "retain_tokens": 60}
    return {**fixed, **sizes, "fit": {"steps": 2}, "test_tokens": 40, "prompts": {"de": ["Der"]}, **changes}


def bench(methods: list[str]) -> dict[str, Any]:
    """A recipe of a benchmark of these methods, as `job`."""
    about = {
        "judged": "en",
        "retain": {"english": ["en"]},
        "budgets": [4],
        "weights": [1.0],
        "methods": methods,
    }
    sizes = {"tuning_seeds": 1, "retain_length": 16, "validation_tokens": 30, "cap": 1.0}
    return job(**about, **sizes, fit={"steps": 2, "target": "sampled"})
