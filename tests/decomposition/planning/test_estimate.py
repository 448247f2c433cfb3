"""The estimate against numbers worked out by hand, and against what a run holds and counts for real."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import recipe, target
from tests.helpers import gpt2, simple_mlp
from tests.models.families import FAMILIES
from torch.utils.flop_counter import FlopCounterMode

from rankone.core.errors import RankOneError
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.planning.estimate import (
    STATE_BYTES,
    estimate,
    estimate_tables,
    faithfulness_flops,
    passes,
    step_flops,
    step_memory,
)
from rankone.decomposition.planning.rates import Rates, measure_rates
from rankone.decomposition.planning.size import run_size
from rankone.decomposition.training.trainer import Trainer


def test_counts_of_one_block_by_hand():
    # One block of width 8 and hidden width 12: four 8 × 8 matrices with C = 8, two 8 × 12 with C = 12.
    size = run_size(target(), recipe())
    assert size.weights == 4 * 64 + 2 * 96
    assert size.factors == 4 * 8 * 16 + 2 * 12 * 20
    assert size.products == 4 * 8**3 + 2 * 12 * 96
    assert size.subcomponents == 4 * 8 + 2 * 12
    assert (size.inputs, size.outputs) == (4 * 8 + 8 + 12, 4 * 8 + 12 + 8)
    assert size.positions == 4 * 7
    assert (size.upstream, size.downstream) == (0, 30 * 8)  # the unembedding
    assert (size.blocks, size.first_block) == (1, 0)


def test_the_importance_function_is_counted_as_it_is_built():
    config = recipe()
    decomposition = new_decomposition(target(), config)
    size = run_size(target(), config)
    assert size.importance == sum(p.numel() for p in decomposition.importance.parameters())
    assert size.factors == sum(p.numel() for p in (*decomposition.V.values(), *decomposition.U.values()))


def test_late_sites_leave_the_rest_upstream():
    model = simple_mlp(num_hidden_layers=3)
    size = run_size(model, recipe(sites=["h.2.mlp.*"]))
    block = 4 * 24 * 24 + 2 * 24 * 40
    assert size.upstream == 2 * block
    assert size.downstream == 4 * 24 * 24 + 300 * 24
    assert (size.blocks, size.first_block) == (3, 2)


def test_only_the_experts_a_token_is_routed_to_count():
    model = FAMILIES["mixtral"][0]()
    size = run_size(model, recipe())
    experts = 3 * 40 * 24  # gate, up and down of one expert; two of four are used
    assert size.downstream == 300 * 24 + 3 * (2 * experts + 4 * 24)


def test_a_meta_model_gives_the_same_counts():
    model = gpt2()
    with torch.device("meta"):
        skeleton = type(model)(model.config)
    assert run_size(skeleton, recipe()) == run_size(model, recipe())


@pytest.mark.parametrize("form", ["merged", "separate"])
@pytest.mark.parametrize("sites", [["*"], ["h.1.*"]])
def test_the_flops_of_a_step_are_those_counted(form, sites):
    """PyTorch's counter sees every product of a real step, attention of the importance function beside."""
    config = recipe(sites=sites, reconstruction__form=form)
    model = simple_mlp(vocab_size=30)
    trainer = Trainer(model, new_decomposition(model, config), _rows(config), config)
    with trainer.installed():
        trainer.step(0)  # the late start is tried once
        with FlopCounterMode(display=False) as counter:
            trainer.step(1)
    size = run_size(model, config)
    expected = sum(step_flops(size, config).values()) + faithfulness_flops(size)
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.12)


def _rows(config):
    from tests.decomposition.tiny import token_rows

    return token_rows(config)


def test_memory_of_what_outlives_a_step_is_exact():
    config = recipe()
    size, model = run_size(target(), config), target()
    trainer = Trainer(model, new_decomposition(model, config), _rows(config), config)
    with trainer.installed():
        trainer.step(0)
    held = step_memory(size, config)
    state = sum(v.numel() * 4 for s in trainer.optimizer.state.values() for v in s.values() if v.ndim)
    own = sum(p.numel() * 4 * 2 for p in trainer.decomposition.parameters())
    named = held["U and V with optimiser"] + held["importance function with optimiser"]
    assert named == state + own == STATE_BYTES * (size.factors + size.importance)
    moments = sum(t.numel() * 4 for k, t in trainer.adversary.tensors().items() if k != "ascents")
    assert held["adversary's sources"] == moments / 12 * 16


@pytest.mark.parametrize("kind", ["mlp", "vector_mlp", "shared_mlp", "global_shared_mlp"])
def test_parameters_of_every_importance_function_are_counted(kind):
    config, model = recipe(importance={"kind": kind, "hidden": [5]}), target()
    built = new_decomposition(model, config)
    expected = sum(p.numel() for p in built.importance.parameters())
    assert run_size(model, config).importance == expected


def test_sources_of_other_adversaries_are_counted():
    rows, channels = recipe().rows, run_size(target(), recipe()).subcomponents + 6
    for adversary, expected in (
        ({"pool": 3, "sources": 2}, 16.0 * 6 * channels),
        ({"kind": "fresh", "scope": "bsc"}, 12.0 * rows * recipe().context * channels),
    ):
        config = recipe(adversary=adversary)
        assert step_memory(run_size(target(), config), config)["adversary's sources"] == expected
    assert passes(recipe(adversary={"kind": "fresh", "steps": 3})) == (1, 3)


def test_seconds_by_hand():
    config = recipe()
    size = run_size(target(), config)
    slow = estimate(size, config, Rates(matmul=1e6, matmul_fp32=1e6, bandwidth=1e30))
    assert slow.seconds == pytest.approx(sum(slow.flops.values()) / 1e6)
    assert passes(config) == (1, 0)
    assert passes(recipe(reconstruction__form="separate", adversary__extra_ascents=3)) == (2, 3)


def test_rates_are_positive_and_quickly_measured():
    rates = measure_rates(torch.device("cpu"), 32, 16, 16, autocast=True)
    assert min(rates.matmul, rates.matmul_fp32, rates.bandwidth) > 0


def test_what_does_not_fit_is_said_with_the_knob(caplog, monkeypatch):
    from rankone.decomposition.planning import estimate as room

    config = recipe()
    size = run_size(target(), config)
    found = estimate(size, config, Rates(1e9, 1e9, 1e9))
    memory, work = estimate_tables(found, size, torch.device("cpu"))
    assert memory.column("GiB")[-1] == pytest.approx(found.bytes / 2**30)
    assert work.column("TFLOP")[-1] == pytest.approx(sum(found.flops.values()) / 1e12)
    assert "This needs more" not in caplog.text
    monkeypatch.setattr(room, "available_bytes", lambda device: 1e6)
    estimate_tables(found, size, torch.device("cpu"))
    dearest = max(found.memory, key=lambda what: found.memory[what] * (what in room.KNOBS))
    assert f"Lower {room.KNOBS[dearest]}" in caplog.text


def test_c_below_one_and_sites_that_match_nothing_are_refused():
    with pytest.raises(RankOneError, match=r"subcomponents\['\*'\] is 0; C must be at least 1"):
        run_size(target(), recipe(subcomponents={"*": 0}))
    with pytest.raises(RankOneError, match=r"no site matches 'h\.7"):
        run_size(target(), recipe(sites=["h.7.*"]))
