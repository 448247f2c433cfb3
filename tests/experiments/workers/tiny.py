"""A benchmark of seconds on a tiny model."""

from __future__ import annotations

from pathlib import Path

from tests.tiny import write_pair

from rankone.experiments.config import BenchConfig

CONFIG = {
    "trained": ["de", "en", "fr"],
    "evaluated": ["de", "en"],
    "retain": {"english": ["en"], "others": ["en", "fr"]},
    "methods": ["scalar", "lora_r1_local"],
    "budgets": [4, 16],
    "seeds": 1,
    "weights": [1.0],
    "tuning_seeds": 1,
    "fit": {"steps": 3, "patience": 3, "target": "sampled"},
    "selection_tokens": 60,
    "candidates": 2,
    "pick_tokens": 20,
    "retain_tokens": 120,
    "retain_length": 16,
    "validation_tokens": 30,
    "test_tokens": 40,
    "stack": 2,
}


def written(folder: Path, tokenizer) -> BenchConfig:
    """The benchmark of a tiny model and decomposition that are written to `folder`."""
    model, decomposition = write_pair(folder, tokenizer, len(tokenizer))
    return BenchConfig.checked({**CONFIG, "model": str(model), "decomposition": str(decomposition)}, "test")
