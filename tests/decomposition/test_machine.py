"""A step is the same in every layout: one process or two, whole batch or parts, activations kept or not, sharded or not."""

from __future__ import annotations

import numpy as np
import pytest
from tests.decomposition.tiny import recipe, trainer
from tests.processes import together

from rankone.decomposition.gathered import gathered

BASE = {
    "rows": 8,
    "initialisation": "random",
    "faithfulness": 10.0,
    "minimality__activity": 0.01,
    "minimality__frequency": 0.02,
    "minimality__reference_count": 50.0,
    "minimality__sharpness": {"start": 0.4},
    "learning_rate": {"start": 1e-3},
    "importance_learning_rate": {"start": 2e-3},
    "clip": 0.5,
    "adversary__learning_rate": {"start": 0.05},
}
FRESH = {
    "adversary": {"kind": "fresh", "steps": 2, "step_size": 0.1, "scope": "sc"},
}
CASES = {
    "merged": {},
    "separate": {"reconstruction__form": "separate"},
    "sc": {"adversary__scope": "sc", "minimality__half_life": 2.0},
    "bsc": {"adversary__scope": "bsc", "reconstruction__hidden": 3.0, "faithfulness_scale": "relative"},
    "c, pool": {"adversary__scope": "c", "adversary__pool": 3, "adversary__lifetime": 2.0},
    "bc, pool": {"adversary__pool": 2, "adversary__lifetime": 2.0, "reconstruction__sources": "corners"},
    "taking turns": {
        "adversary__sources": 2,
        "reconstruction__form": "separate",
        "reconstruction__hidden": 2.0,
    },
    "segments": {"adversary__segments": 7, "reconstruction__routing": "mixed", "minimality__frequency": 0.0},
    "fresh": FRESH,
    "activations": {"importance": {"kind": "mlp", "hidden": [4]}},
    "targeted": {
        "targeted": {"mixture": {"de": {"weight": 1.0}}, "importance_decay": 5.0, "fraction": 0.25},
        "faithfulness": 0,
        "subcomponents": {"*": 3},
    },
}


def built(name, **machine):
    changes = BASE | CASES[name]
    if "adversary" in changes:
        changes = {k: v for k, v in changes.items() if not k.startswith("adversary__")}
    return trainer(recipe(**changes, machine=machine))


def steps(ranks, name, machine, count=3):
    """Metrics of some steps, and what the last one left: gradients, parameters, sources (those of this process)."""
    run = built(name, **machine)
    with run.installed():
        metrics = [run.step(step) for step in range(count)]
        parameters = dict(run.decomposition.named_parameters())
        gradients = {k: gathered(p.grad).detach().numpy() for k, p in parameters.items()}
        after = {k: gathered(p.detach()).numpy() for k, p in parameters.items()}
        sources = run.adversary.source.numpy()
    return metrics, gradients, after, sources


def every_case(ranks, names, machine):
    return {name: steps(ranks, name, machine) for name in names}


def close(found, expected, what, size=1e-3):
    scale = max(np.abs(expected).max(), 1e-12)
    assert np.abs(found - expected).max() <= size * scale, what


def same(name, found, expected, shared=None):
    """Metrics, gradients and parameters of every process are those of one; its sources are its rows' or all."""
    for rank, (metrics, gradients, after, sources) in enumerate(found):
        for step, (ours, theirs) in enumerate(zip(metrics, expected[0], strict=True)):
            assert ours == pytest.approx(theirs, rel=2e-3, abs=1e-6), (name, rank, step)
        for key, value in expected[1].items():
            close(gradients[key], value, (name, rank, "gradient", key), 5e-3)
        for key, value in expected[2].items():
            # Where a gradient is rounding, so is the sign that AdamW takes of it.
            wrong = np.abs(after[key] - value) > 2e-4
            assert wrong.mean() < 0.02, (name, rank, "parameter", key)
        own = expected[3]
        if len(sources) < len(own):
            own = np.split(own, len(found))[rank]
        # A fresh source goes by the sign of its gradient alone.
        bound = 0.2 if name == "fresh" else 0.02
        assert (np.abs(sources - own) > 1e-3).mean() < bound, (name, rank, "sources")


@pytest.fixture(scope="module")
def alone():
    return every_case(None, CASES, {})


LAYOUTS = {
    "two processes": (2, {}),
    "two parts": (1, {"accumulation": 2}),
    "two processes, two parts, recomputed": (2, {"accumulation": 2, "activation_checkpointing": True}),
    "fsdp": (2, {"sharding": "fsdp"}),
    "fsdp, two parts, recomputed": (
        2,
        {"sharding": "fsdp", "accumulation": 2, "activation_checkpointing": True},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_takes_the_same_steps(alone, layout):
    size, machine = LAYOUTS[layout]
    found = together(size, every_case, list(CASES), machine)
    for name in CASES:
        same(name, [answer[name] for answer in found], alone[name])
