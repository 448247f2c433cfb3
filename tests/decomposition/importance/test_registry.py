"""Every importance function: its shape, what it reads, what it keeps, and its way to disk and back."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import SIZES, decomposed, recipe, trainer
from tests.helpers import gpt2, llama, probe, simple_mlp

from rankone.core.errors import RankOneError
from rankone.decomposition.importance.config import read_importance_config
from rankone.decomposition.importance.registry import IMPORTANCE, build_importance
from rankone.decomposition.model import DecomposedModel, load_decomposition, save_decomposition

WIDTHS, COUNTS = [4, 6], [3, 5]
CONFIGS = {
    "mlp": {"hidden": [7]},
    "vector_mlp": {"hidden": [7, 3]},
    "shared_mlp": {"hidden": [7]},
    "global_shared_mlp": {"hidden": [7, 5]},
    "shared_transformer": SIZES,
    "residual_transformer": SIZES,
    "magnitude": {},
}
POSITIONWISE = ["mlp", "vector_mlp", "shared_mlp", "global_shared_mlp", "magnitude"]
# Those that read v_c · x.
ON_ACTIVATIONS = ("mlp", "magnitude")


def built(kind, seed=0):
    torch.manual_seed(seed)
    config = read_importance_config({"kind": kind, **CONFIGS[kind]})
    return build_importance(config, COUNTS if kind in ON_ACTIVATIONS else WIDTHS, COUNTS)


def inputs(kind, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 5, w, generator=generator) for w in (COUNTS if kind in ON_ACTIVATIONS else WIDTHS)]


def test_there_is_a_test_for_every_kind():
    assert len(CONFIGS) == len(IMPORTANCE)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_logit_for_every_subcomponent_and_position_to_which_every_parameter_matters(kind):
    gamma = built(kind)
    logits = gamma(inputs(kind))
    assert logits.shape == (2, 5, sum(COUNTS))
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in gamma.parameters())


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("dead", [[0, 4], [0, 1, 2]])
def test_what_is_kept_has_the_logits_it_had(kind, dead):
    gamma, keep = built(kind), torch.ones(sum(COUNTS), dtype=torch.bool)
    keep[dead] = False
    small, read = gamma.kept(keep), inputs(kind)
    # Activations of what is dropped are read no more.
    left = (
        [x[..., k] for x, k in zip(read, keep.split(COUNTS), strict=True)] if kind in ON_ACTIVATIONS else read
    )
    torch.testing.assert_close(small(left), gamma(read)[..., keep])


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_is_kept_stays_on_its_device(kind):
    """Else a run on a GPU would end in an error after its last step: folding the dead comes before the evidence."""
    keep = torch.ones(sum(COUNTS), dtype=torch.bool)
    keep[0] = False
    small = built(kind).to("meta").kept(keep)
    assert {p.device.type for p in small.parameters()} == {"meta"}


@pytest.mark.parametrize("kind", POSITIONWISE)
def test_positions_are_read_one_by_one(kind):
    gamma, read = built(kind), inputs(kind)
    alone = gamma([x[:, 2:3] for x in read])
    torch.testing.assert_close(gamma(read)[:, 2:3], alone)


@pytest.mark.parametrize(("kind", "others"), [("mlp", False), ("vector_mlp", False), ("shared_mlp", False)])
def test_sites_are_read_one_by_one(kind, others):
    gamma, read = built(kind), inputs(kind)
    moved = gamma([read[0], read[1] + 1]) != gamma(read)
    assert bool(moved[..., :3].any()) is others
    assert moved[..., 3:].any()


def test_an_mlp_on_the_activation_sees_its_own_alone():
    gamma, read = built("mlp"), inputs("mlp")
    other = [read[0].clone(), read[1]]
    other[0][..., 1] += 1
    moved = (gamma(other) != gamma(read)).flatten(0, 1).any(0)
    assert moved.tolist() == [False, True] + 6 * [False]


def test_the_global_mlp_reads_all_sites_for_all_logits():
    gamma, read = built("global_shared_mlp"), inputs("global_shared_mlp")
    moved = (gamma([read[0] + 1, read[1]]) != gamma(read)).flatten(0, 1).all(0)
    assert moved.all()


@pytest.mark.parametrize("kind", CONFIGS)
def test_saved_and_loaded_it_gives_the_same_importances(kind, tmp_path):
    model = simple_mlp()
    decomposition = decomposed(model, "random", importance={"kind": kind, **CONFIGS[kind]})
    save_decomposition(decomposition, model, tmp_path / "d", {}, None, "float32")
    loaded, _ = load_decomposition(tmp_path / "d", model)
    assert type(loaded.importance) is type(decomposition.importance)
    ids, found = probe(2, 6), []
    for one in (decomposition, loaded):
        with DecomposedModel(model, one) as wrapped:
            found.append(wrapped.importance(ids))
    assert torch.equal(*found)


@pytest.mark.parametrize("kind", CONFIGS)
def test_it_trains(kind):
    run = trainer(recipe(steps=2, importance={"kind": kind, **CONFIGS[kind]}))
    before = {k: v.clone() for k, v in run.decomposition.importance.state_dict().items()}
    with run.model:
        row = run.step(0)
    assert row["l0"] > 0
    assert all(not torch.equal(v, before[k]) for k, v in run.decomposition.importance.state_dict().items())


def test_the_activations_of_an_mlp_are_those_of_the_moment():
    """V is trained, and the importance of a subcomponent reads v_c · x as V is now: its gradient reaches V."""
    model = simple_mlp()
    decomposition = decomposed(model, "random", importance={"kind": "mlp", "hidden": [3]}).requires_grad_(
        True
    )
    with DecomposedModel(model, decomposition) as wrapped:
        _, seen = wrapped.clean(probe(2, 6))
    decomposition.logits(seen).sum().backward()
    assert all(v.grad is not None and v.grad.any() for v in decomposition.V.values())


@pytest.mark.parametrize("model", [simple_mlp, gpt2, llama])
def test_the_residual_transformer_reads_the_hidden_states_before_every_block(model):
    target, ids = model(), probe(2, 6)
    decomposition = decomposed(target, "random", importance={"kind": "residual_transformer", **SIZES})
    with DecomposedModel(target, decomposition) as wrapped:
        _, seen = wrapped.clean(ids)
    states = (
        target(input_ids=ids, output_hidden_states=True).hidden_states if model is not simple_mlp else None
    )
    assert len(seen.blocks) == 2
    if states is not None:
        assert all(torch.equal(a, b) for a, b in zip(seen.blocks, states, strict=False))
    torch.testing.assert_close(decomposition.logits(seen), decomposition.importance(seen.blocks))


def test_the_residual_transformer_reads_no_more_for_more_sites():
    model = simple_mlp()
    importance = {"kind": "residual_transformer", **SIZES}
    few = decomposed(model, "random", importance=importance, sites=["h.*.mlp.c_fc"])
    many = decomposed(model, "random", importance=importance)
    assert few.importance.project.weight.shape == many.importance.project.weight.shape == (8, 2 * 24)
    plain = decomposed(model, "random")
    assert plain.importance.project.weight.shape == (8, 2 * (5 * 24 + 40))


def test_the_residual_transformer_needs_a_width_to_read():
    model = simple_mlp()
    from types import SimpleNamespace

    model.config, own = SimpleNamespace(), model.config
    try:
        with pytest.raises(RankOneError, match=r"residual_transformer.*hidden_size"):
            decomposed(model, "random", importance={"kind": "residual_transformer", **SIZES})
    finally:
        model.config = own
