"""Replacing MLPs: what is exact costs nothing, what is nothing costs what taking the MLPs out does; training and files."""

from __future__ import annotations

import json
from unittest.mock import patch

import pytest
import torch
import yaml
from tests.helpers import VOCAB, llama, probe, simple_mlp
from tests.tiny import rankone, write_pair

from rankone.circuits.transcoders import training
from rankone.circuits.transcoders.coder import Transcoder
from rankone.circuits.transcoders.config import CoderConfig
from rankone.circuits.transcoders.judging import comparing
from rankone.circuits.transcoders.judging.judging import judge
from rankone.circuits.transcoders.judging.stand_ins import (
    active_counts,
    constant,
    important_parts,
    mean_outputs,
    strongest_neurons,
)
from rankone.circuits.transcoders.judging.unimportant import unimportant_on
from rankone.circuits.transcoders.places import mlps_of, watched
from rankone.circuits.transcoders.storage import load_transcoders
from rankone.core.errors import RankOneError
from rankone.core.tensors import read_tensors
from rankone.decomposition.model import DecomposedModel
from rankone.decomposition.untrained import as_decomposition
from rankone.metrics.kl import kl_per_position
from rankone.models.loading import load_model
from rankone.models.sites import find_sites
from rankone.parts.sources import make_parts
from rankone.runtime.progress import Meter
from rankone.text.blocks import Blocks

RECIPE = {
    "tokens": 640,
    "batch": 64,
    "context": 16,
    "checkpoint_every": 4,
    "coders": [
        {"latents": 16, "k": 2},
        {"latents": 16, "k": 2, "seed": 1},
        {"latents": 16, "k": 2, "reach": "cross-layer"},
        {"latents": 16, "k": 2, "objective": "kl"},
    ],
}
BAR = Meter(None, "", 1)


@pytest.fixture(params=[simple_mlp, llama])
def model(request):
    return request.param().eval().requires_grad_(False)


def without_mlps(model, ids):
    with watched(model, mlps_of(model)), torch.no_grad():
        hooks = [
            model.get_submodule(m.path).register_forward_hook(lambda *given: torch.zeros_like(given[2]))
            for m in mlps_of(model)
        ]
        logits = model(input_ids=ids).logits
    for hook in hooks:
        hook.remove()
    return logits


def test_the_mlps_of_a_model(model):
    mlps = mlps_of(model)
    assert len(mlps) == 2
    assert all(m.path.endswith(".mlp") and m.last.endswith("down_proj") for m in mlps)
    assert all(site.startswith(m.path) for m in mlps for site in m.sites)


def test_all_neurons_cost_nothing_and_nothing_costs_what_no_mlp_does(model):
    mlps, ids = mlps_of(model), probe(rows=3)
    neurons = find_sites(model, [mlps[0].last])[0].d_in
    every = judge(model, mlps, strongest_neurons(model, mlps, neurons), [ids], BAR)
    assert max(abs(every.cascading), abs(every.parallel), abs(every.single), every.unexplained) < 1e-6
    zeros = constant(model, mlps, "nothing", [torch.zeros(model.config.hidden_size)] * 2)
    said, wanted = zeros.forward(ids, range(2))[0], without_mlps(model, ids)
    torch.testing.assert_close(said, wanted)
    row = judge(model, mlps, zeros, [ids], BAR)
    assert row.cascading == pytest.approx(row.parallel, abs=1e-6)
    means = judge(model, mlps, constant(model, mlps, "mean", mean_outputs(model, mlps, [ids])), [ids], BAR)
    assert means.unexplained == pytest.approx(1.0, abs=1e-4)
    fewer = judge(model, mlps, strongest_neurons(model, mlps, 2), [ids], BAR)
    assert 0 < fewer.unexplained < 2


def test_all_parts_of_an_exact_decomposition_cost_nothing():
    model, ids = simple_mlp().eval().requires_grad_(False), probe(rows=3)
    mlps = mlps_of(model)
    parts = make_parts("neuron", find_sites(model, ["*.mlp.*"]))
    text = Blocks(ids, torch.ones_like(ids, dtype=torch.bool))
    with DecomposedModel(model, as_decomposition(model, parts, [text])) as opened:
        counted = active_counts(opened, [ids], -1.0)
        assert set(counted.values()) == {float(n) for n in parts.counts}
        every = judge(model, mlps, important_parts(opened, mlps, -1.0, False, counted), [ids], BAR)
        assert max(abs(every.cascading), abs(every.single), every.unexplained) < 1e-5
        none = judge(model, mlps, important_parts(opened, mlps, 1.0, False, counted), [ids], BAR)
        assert none.unexplained > 0.5


def test_an_adversary_moves_the_model_more_than_chance_and_the_same_seed_the_same():
    model, ids = simple_mlp().eval().requires_grad_(False), probe(rows=3)
    mlps, parts = mlps_of(model), make_parts("neuron", find_sites(model, ["*.mlp.*"]))
    text = Blocks(ids, torch.ones_like(ids, dtype=torch.bool))
    with DecomposedModel(model, as_decomposition(model, parts, [text])) as opened:
        nothing = torch.zeros(*ids.shape, sum(parts.counts))
        with patch.object(opened, "importance", lambda _: nothing):
            counted = active_counts(opened, [ids], 0.0)
            asked = opened, mlps, [ids], counted, 10, 0, BAR
            first, again = ([_logits(way, ids) for way in unimportant_on(*asked)] for _ in range(2))
            names = [way.name for way in unimportant_on(*asked)]
    assert names[2:] == ["decomposition, 10 PGD steps", "decomposition, 10 PGD steps, attention too"]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    clean = model(input_ids=ids).logits
    random, random_too, attacked, attacked_too = (
        float(kl_per_position(clean, logits).mean()) for logits in first
    )
    assert attacked > 2 * random > 0
    # There is no attention in this decomposition: masking it too changes nothing.
    assert (random_too, attacked_too) == (random, attacked)


def _logits(way, ids):
    return way.forward(ids, range(2))[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory, tokenizer):
    """A model of two blocks, and transcoders of it."""
    folder = tmp_path_factory.mktemp("transcoders")
    write_pair(folder, tokenizer, len(tokenizer), simple_mlp(vocab_size=len(tokenizer)))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE), "utf8")
    words = ["transcoders", "train", folder / "model", "--recipe", folder / "recipe.yaml"]
    done = rankone(*words, "--domains", "de,en", "--out", folder / "trained")
    assert done.code == 0, done.err
    assert "per-layer-16-k2-local-0" in done.out
    assert "of training from" in done.out
    return folder, words


def test_training_explains_more_with_every_step(world):
    folder, _ = world
    lines = [json.loads(x) for x in (folder / "trained.run" / "metrics.jsonl").read_text().splitlines()]
    first, last = lines[0], lines[-1]
    assert last["per-layer-16-k2-local-0"] < first["per-layer-16-k2-local-0"]
    model = load_model(folder / "model")
    said, coders = load_transcoders(folder / "trained", model)
    assert [c.config for c in coders] == [one.coder for one in said.coders]
    for coder in coders:
        assert torch.isfinite(coder.threshold).all()
        assert torch.allclose(coder.decoders[0].square().sum((0, 2)), torch.ones(16), atol=1e-5)


def test_files_have_the_names_that_circuit_tracer_reads(world):
    tensors = read_tensors(world[0] / "trained" / "per-layer-16-k2-local-0" / "layer_0.safetensors")
    width = load_model(world[0] / "model").config.hidden_size
    assert {n: tuple(t.shape) for n, t in tensors.items()} == {
        "W_enc": (16, width),
        "W_dec": (16, width),
        "b_enc": (16,),
        "b_dec": (width,),
        "activation_function.threshold": (16,),
    }


def test_a_run_cut_off_goes_on_to_the_same_end(world, tmp_path, monkeypatch):
    folder, words = world
    calls, step = [], training._one_step

    def cut(*given):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return step(*given)

    monkeypatch.setattr(training, "_one_step", cut)
    out = ["--domains", "de,en", "--out", tmp_path / "again"]
    assert rankone(*words, *out).code != 0
    monkeypatch.setattr(training, "_one_step", step)
    assert not (tmp_path / "again").exists()
    done = rankone(*words, *out, quiet=False)
    assert done.code == 0
    assert "resuming at step 4" in done.out + done.err
    name = "cross-layer-16-k2-local-0/W_dec_1.safetensors"
    first, second = (read_tensors(place / name) for place in (folder / "trained", tmp_path / "again"))
    assert all(torch.equal(first[n], second[n]) for n in first)


def test_everything_is_judged_in_one_table(world, tmp_path):
    folder, _ = world
    opened = ["--model", folder / "model", "--decomposition", folder / "decomposition", "--domains", "de,en"]
    out = tmp_path / "table.json"
    words = ["transcoders", "compare", folder / "trained", *opened, "--tokens", 128, "--neurons", 2]
    done = rankone(*words, "--levels", "0.5", "--jacobians", 2, "--attack", 2, "--out", out)
    assert done.code == 0, done.err
    said = json.loads(out.read_text("utf8"))
    names = [row["name"] for row in said["rows"]]
    assert names[:4] == ["nothing", "mean output", "neurons, k 2", "random transcoder"]
    assert {"per-layer-16-k2-kl-0, threshold", "decomposition, g > 0.5, attention too"} <= set(names)
    assert names[-1] == "decomposition, 2 PGD steps, attention too"
    assert [(a["first"], a["second"]) for a in said["alike"]] == [
        ("per-layer-16-k2-local-0", "per-layer-16-k2-local-1")
    ]
    assert -1 <= said["rows"][4]["jacobian"] <= 1
    scores = {row["name"]: row["firing_auc"] for row in said["rows"]}
    assert {n for n, auc in scores.items() if auc is not None} >= {
        *("neurons, k 2", "random transcoder", "per-layer-16-k2-local-0, batch", "decomposition, g > 0.5")
    }
    assert scores["nothing"] is None


def test_what_cannot_be_replaced_or_is_another_models_is_refused(world, tmp_path, tokenizer):
    folder, _ = world
    write_pair(tmp_path, tokenizer, len(tokenizer), simple_mlp(seed=1, vocab_size=len(tokenizer)))
    done = rankone("transcoders", "compare", folder / "trained", "--model", tmp_path / "model")
    assert done.code == 2
    assert "was made from other weights" in done.err
    flat = simple_mlp(vocab_size=VOCAB)
    for i in range(2):
        del flat.get_submodule(f"h.{i}")._modules["mlp"]
    with pytest.raises(RankOneError, match="no MLP module with one last matrix in each block"):
        mlps_of(flat)


def test_sizes_are_compared_between_seeds():
    """With one seed the smaller one's first layer starts as the larger one's does."""
    small, other, large = (CoderConfig(latents=n, k=2, seed=s) for n, s in ((16, 0), (16, 1), (32, 0)))
    starts = [Transcoder(c, layers=2, width=4).encoder[0, :16] for c in (small, other, large)]
    assert torch.equal(starts[0], starts[2])
    assert not torch.equal(starts[1], starts[2])
    assert comparing._pairs([small, other, large]) == [(small, other), (other, large)]
    assert comparing._pairs([large, small]) == [(small, large)]
    assert comparing._pairs([large, small, CoderConfig(latents=16, k=4)]) == [(small, large)]
