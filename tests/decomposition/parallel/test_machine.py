"""A step is the same in every layout: one process or two, whole batch or parts, activations kept or not, sharded or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.decomposition.tiny import mask_of, recipe, trainer
from tests.processes import together

from rankone.core.errors import RankOneError
from rankone.decomposition.parallel.gathered import gathered
from rankone.decomposition.parallel.machine import Machine
from rankone.decomposition.parallel.share import Share
from rankone.decomposition.training.recompute import recomputed
from rankone.runtime.distributed import Ranks

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


def steps(ranks, name, machine, count=2):
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
    # Of layouts that join several things only the cases in which they meet.
    names = ["separate", "sc", "taking turns", "activations"] if len(machine) > 1 else list(CASES)
    found = together(size, every_case, names, machine)
    for name in names:
        same(name, [answer[name] for answer in found], alone[name])


def first_pass(ranks, name):
    """Masks, sources of delta and routes of a step's first masked forward."""
    run, calls = built(name), []
    masked = run.model.masked

    def recorded(batch, mask, delta, route, outputs):
        calls.append([batch.numpy(), mask_of(mask, delta).numpy(), delta.detach().numpy(), route.numpy()])
        return masked(batch, mask, delta, route, outputs)

    run.model.masked = recorded
    with run.installed():
        run.step(0)
    return calls[0]


def test_processes_take_other_rows_and_draw_other_masks_and_routes():
    alone = first_pass(None, "merged")
    pair = together(2, first_pass, "merged")
    for ours, whole in zip(zip(*pair, strict=True), alone, strict=True):
        assert ours[0].shape == ours[1].shape
        assert not np.array_equal(ours[0], ours[1])
        np.testing.assert_allclose(np.concatenate(ours), whole, rtol=1e-4, atol=1e-5)
    # Not by their rows alone: no drawn number of delta's sources is met twice.
    drawn = [own[2][own[3].min((1, 2)) == 0].ravel() for own in pair]
    assert min(map(len, drawn)) > 0
    assert not set(drawn[0].tolist()) & set(drawn[1].tolist())


@pytest.mark.parametrize("name", ["separate", "activations", "bsc"])
def test_recomputed_activations_change_memory_and_no_bit(name):
    kept, again = [], []
    for found, machine in ((kept, {}), (again, {"activation_checkpointing": True})):
        run, sizes = built(name, **machine), []

        def count(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with run.installed(), torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
            run.step(0)
        found += [sum(sizes), {k: p.grad.clone() for k, p in run.decomposition.named_parameters()}]
    assert [k for k, g in kept[1].items() if not torch.equal(g, again[1][k])] == []


def test_blocks_keep_their_inputs_alone():
    """Bytes that the masked forward of one block leaves for its backward."""
    held = {}
    for recompute in (False, True):
        run = built("merged", activation_checkpointing=recompute)
        shape = (8, 7, run.decomposition.total)
        with run.installed():
            run.model.clean(run.batch(0))
            seen = {}

            def note(tensor, seen=seen):
                seen[tensor.data_ptr()] = tensor.numel()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
                run.model.masked(run.batch(0), torch.rand(shape).requires_grad_(), torch.rand(8, 7, 6))
        held[recompute] = sum(seen.values())
    assert held[True] < 0.5 * held[False]


def test_a_model_without_a_list_of_blocks_cannot_recompute():
    run = built("merged", activation_checkpointing=True)
    run.model.target = torch.nn.Module()
    with pytest.raises(RankOneError, match=r"machine\.activation_checkpointing"), recomputed(run.model):
        pass


def test_uneven_rows_are_refused():
    with pytest.raises(ValueError, match=r"rows is 4, which machine\.accumulation, 3, does not divide"):
        recipe(machine={"accumulation": 3})
    with pytest.raises(
        RankOneError, match=r"6 rows do not split into 2 processes × 2 parts .* multiple of 4"
    ):
        Share(6, Machine(accumulation=2), Ranks(0, 2))
    share = Share(12, Machine(accumulation=3), Ranks(1, 2))
    parts = share.split(torch.arange(6)[:, None], torch.zeros(6, 1, 1, dtype=torch.bool))
    assert [list(part.rows) for part in parts] == [[6, 7], [8, 9], [10, 11]]
    assert [part.batch.flatten().tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
