"""What is timed: the sizes, the recipe, and building each implementation of the step from the same starting point."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from perf.plain import PlainImportance, PlainTrainer
from torch import nn

from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.importance.config import SharedTransformerConfig
from rankone.decomposition.importance.shared_transformer import SharedTransformer
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.model import Decomposition
from rankone.decomposition.training.trainer import Trainer
from rankone.models.simple_mlp import SimpleMLPConfig, SimpleMLPForCausalLM
from rankone.recipes import recipe_file

Implementation = Literal["plain", "separate", "merged"]
IMPLEMENTATIONS: tuple[Implementation, ...] = ("plain", "separate", "merged")
# Of the shipped decomposition's first stage.
RECIPE = recipe_file("decompose-mini")
# Steps of the schedules; only a few are run.
RUN_STEPS = 1000


@dataclass(frozen=True)
class Size:
    """A target's shapes, the subcomponents per site, and the sizes of the importance function."""

    target: dict[str, int]
    counts: dict[str, int]
    importance: dict[str, int]
    # Without counts each site gets one subcomponent per neuron or channel, and starts faithful.
    initialisation: Literal["aligned", "random"]


SIZES = {
    "mini": Size(
        {
            "vocab_size": 4096,
            "hidden_size": 192,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 768,
            "max_position_embeddings": 128,
        },
        {},
        {"width": 256, "blocks": 2, "heads": 4, "hidden": 1024},
        "aligned",
    ),
    # The published target and decomposition: 66.9M, 121M and 539M parameters.
    "67m": Size(
        {
            "vocab_size": 50277,
            "hidden_size": 768,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "intermediate_size": 3072,
            "max_position_embeddings": 512,
        },
        {
            "*.q_proj": 512,
            "*.k_proj": 512,
            "*.v_proj": 1024,
            "*.o_proj": 1024,
            "*.c_fc": 3072,
            "*.down_proj": 3584,
        },
        {"width": 2048, "blocks": 8, "heads": 16, "hidden": 8192},
        "random",
    ),
}


@dataclass(frozen=True)
class Case:
    """One thing to time."""

    size: str
    implementation: Implementation
    rows: int
    context: int
    steps: int
    device: str
    compile: bool


@dataclass(frozen=True)
class Ready:
    """A step to call with its number, the context to call it in, and the parameters it trains."""

    step: Callable[[int], dict[str, float]]
    within: AbstractContextManager[Any]
    parameters: int


def recipe(size: Size, form: str, rows: int, context: int, **changes: Any) -> DecomposeConfig:
    """The published recipe (method.md of the paper's code) at another size: L_p, a source per row and position.

    `merged` keeps its coefficients and takes one pass a step instead of four.
    """
    values: dict[str, Any] = {
        "subcomponents": size.counts,
        "mixture": {"random": {"weight": 1.0}},
        "steps": RUN_STEPS,
        "rows": rows,
        "context": context,
        "initialisation": size.initialisation,
        "importance": size.importance,
        "minimality": {
            "kind": "lp",
            "sharpness": {"start": 2.0, "end": 0.4},
            "activity": 2e-4,
            "frequency": 1e-4,
            "reference_count": rows * context,
        },
        "reconstruction": {
            "form": form,
            "stochastic": 0.5,
            "adversarial": 0.5,
            "routing": "subset",
        },
        "adversary": {
            "scope": "bsc",
            "learning_rate": {"start": 0.01, "warmup": 0.025},
            "beta1": 0.5,
            "beta2": 0.99,
            "extra_ascents": 2,
        },
        "faithfulness": 1e7,
        "learning_rate": {"start": 5e-5, "end": 5e-6, "shape": "cosine"},
        "importance_learning_rate": {"start": 5e-5, "end": 5e-6, "shape": "cosine"},
        "clip": 0.01,
        "importance_clip": 1e9,  # the published recipe clips only U and V
    }
    return DecomposeConfig.model_validate(values | changes)


def build(case: Case) -> Ready:
    """The target with random weights, its decomposition, and the step of the case's implementation."""
    device, size = torch.device(case.device), SIZES[case.size]
    torch.manual_seed(0)
    target = SimpleMLPForCausalLM(SimpleMLPConfig(**size.target)).to(device).eval().requires_grad_(False)  # pyright: ignore[reportArgumentType]
    form = "merged" if case.implementation == "merged" else "separate"
    config = recipe(size, form, case.rows, case.context, compile=case.compile)
    rows = np.random.default_rng(0).integers(0, size.target["vocab_size"], (case.rows * 16, case.context))
    decomposition = new_decomposition(target, config)
    parameters = sum(p.numel() for p in decomposition.parameters())
    if case.implementation == "plain":
        trainer = plain_trainer(target, decomposition, config, device)
        ids = torch.from_numpy(rows).to(device).split(case.rows)
        return Ready(lambda i: trainer.step(ids[i % len(ids)], i), nullcontext(), parameters)
    ours = Trainer(target, decomposition, rows, config)
    return Ready(ours.step, ours.installed(), parameters)


def plain_trainer(
    target: nn.Module, decomposition: Decomposition, config: DecomposeConfig, device: torch.device
) -> PlainTrainer:
    """A plain trainer that starts from the decomposition's parameters, and uses their memory."""
    decomposition.to(device).requires_grad_(True)
    assert isinstance(decomposition.importance, SharedTransformer)
    importance = plain_importance(decomposition.importance)
    factors = {name: decomposition.factors(name) for name in decomposition.sites}
    generator = torch.Generator(device=device).manual_seed(config.seed)
    return PlainTrainer(target, factors, importance, config, generator)


def plain_importance(importance: SharedTransformer) -> PlainImportance:
    """The plain importance transformer with RankOne's parameters; only its fused q, k, v are copied."""
    own, sizes = importance, importance.config
    assert isinstance(sizes, SharedTransformerConfig)
    inputs, outputs = own.project.in_features, own.head.out_features
    with torch.device("meta"):
        plain = PlainImportance(inputs, sizes.width, sizes.blocks, sizes.heads, sizes.hidden, outputs)
    plain.project, plain.head = own.project, own.head
    for new, old in zip(plain.blocks, own.blocks, strict=True):
        fused = old.get_parameter("qkv.weight").detach()
        for name, weight in zip("qkv", fused.chunk(3), strict=True):
            new.get_submodule(name).weight = nn.Parameter(weight.clone())
        for name in ("out", "up", "down"):
            setattr(new, name, old.get_submodule(name))
    return plain


def take_back(importance: SharedTransformer, plain: PlainImportance) -> None:
    """Put the trained q, k, v of `plain_importance(importance)` back; all else is shared already."""
    for new, own in zip(plain.blocks, importance.blocks, strict=True):
        trained = torch.cat([new.get_submodule(name).get_parameter("weight") for name in "qkv"])
        own.get_parameter("qkv.weight").data.copy_(trained)
