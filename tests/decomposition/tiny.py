"""Decompositions small enough for a test to train: one block of width 8, and the recipes over it."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from tests.helpers import simple_mlp

from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.importance.shared_transformer import SharedTransformer
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.masking.masks import sources
from rankone.decomposition.model import Decomposition
from rankone.decomposition.training.trainer import Trainer
from rankone.models.sites import find_sites

TINY_VOCAB = 30
SIZES = {"width": 8, "blocks": 1, "heads": 2, "hidden": 12}


def target(seed=0, vocab_size=TINY_VOCAB):
    """One block of width 8 with six sites."""
    return simple_mlp(
        seed,
        vocab_size=vocab_size,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
    )


def elsewhere(model):
    """A copy with the same decomposed weights and one embedding changed."""
    other = deepcopy(model)
    with torch.no_grad():
        other.get_input_embeddings().weight[1, 0] += 1
    return other


def recipe(**changes):
    """A recipe for `target()`: fp32, uncompiled. Nested fields are changed by dotted names."""
    values = {
        "mixture": {"en": {"weight": 1.0}},
        "steps": 6,
        "rows": 4,
        "context": 7,
        "importance": dict(SIZES),
        "autocast": False,
        "compile": False,
    }
    for path, value in changes.items():
        put(values, path.replace("__", "."), value)
    return DecomposeConfig.model_validate(values)


def put(values, path, value):
    """Set a dotted path in nested dictionaries."""
    *folders, leaf = path.split(".")
    for folder in folders:
        values = values.setdefault(folder, {})
    values[leaf] = value


def token_rows(config, count=None, seed=0):
    """Random rows [count, context]; as many as the whole run reads if no count is given."""
    count = config.steps * config.rows if count is None else count
    return np.random.default_rng(seed).integers(1, TINY_VOCAB, (count, config.context)).astype(np.int32)


def trainer(config, rows=None):
    """A fresh trainer over a fresh target."""
    model = target()
    decomposition = new_decomposition(model, config)
    return Trainer(model, decomposition, token_rows(config) if rows is None else rows, config)


def mask_of(parts, delta):
    """m = g + (1 − g) r [B, T, ΣC] of all sites, from what a masked forward is given."""
    with torch.no_grad():
        g = torch.cat([p.logits for p in parts], -1).clamp(0, 1)
        r = [sources(p.noise, p.source, p.adversarial, p.level).expand_as(p.logits) for p in parts]
        return (g + (1 - g) * torch.cat(r, -1)).view(*delta.shape[:2], -1)


def decomposed(model, kind="aligned", **changes):
    """A frozen decomposition of all sites of a model, with an untrained importance function."""
    decomposition = new_decomposition(model, recipe(initialisation=kind, **changes))
    return decomposition.eval().requires_grad_(False)


def numbered(model, indices):
    """A random decomposition whose sites keep the subcomponents with the given original numbers."""
    generator = torch.Generator().manual_seed(3)
    factors, numbers = {}, {}
    for site in find_sites(model, list(indices)):
        count = len(indices[site.name])
        factors[site.name] = (
            torch.randn(site.d_in, count, generator=generator),
            torch.randn(count, site.d_out, generator=generator),
        )
        numbers[site.name] = torch.tensor(indices[site.name], dtype=torch.long)
    config = recipe().importance
    widths = [v.shape[0] for v, _ in factors.values()]
    importance = SharedTransformer(config, widths, [v.shape[1] for v, _ in factors.values()])
    return Decomposition(factors, importance, numbers).eval().requires_grad_(False)


def run_steps(built, steps):
    """Metrics of the first steps."""
    with built.model:
        return [built.step(i) for i in range(steps)]
