"""A decomposition's names, its place in a target model, and what is written to disk."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.evidence.values import evidence
from tests.decomposition.tiny import decomposed, numbered, recipe, target, trainer
from tests.helpers import gpt2, llama, probe, same, simple_mlp, snapshot

from rankone.core.errors import RankOneError
from rankone.decomposition.evidence.records import evidence_of
from rankone.decomposition.model import DecomposedModel, load_decomposition, save_decomposition
from rankone.decomposition.storage import restored, stored

INDICES = {"h.0.attn.q_proj": [2, 5, 700], "h.0.mlp.c_fc": [0, 9], "h.0.mlp.down_proj": []}
MODELS = {"simple_mlp": simple_mlp, "gpt2": gpt2, "llama": llama}


def ids(rows=2, length=6):
    return probe(rows, length) % 29 + 1


def logits(model, tokens):
    return model(input_ids=tokens, use_cache=False).logits


def test_names_follow_the_order_of_the_logits():
    decomposition = numbered(target(), INDICES)
    assert decomposition.names() == [
        "h.0.attn.q_proj:2",
        "h.0.attn.q_proj:5",
        "h.0.attn.q_proj:700",
        "h.0.mlp.c_fc:0",
        "h.0.mlp.c_fc:9",
    ]
    assert decomposition.total == 5
    assert [decomposition.column(name) for name in decomposition.names()] == [0, 1, 2, 3, 4]


def test_locate_and_vectors_use_original_numbers():
    decomposition = numbered(target(), INDICES)
    assert decomposition.locate("h.0.attn.q_proj:700") == ("h.0.attn.q_proj", 2)
    v, u = decomposition.vectors("h.0.mlp.c_fc:9")
    read, write = decomposition.factors("h.0.mlp.c_fc")
    assert torch.equal(v, read[:, 1])
    assert torch.equal(u, write[1])
    assert (len(v), len(u)) == (8, 12)


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("h.0.attn.q_prj:5", "h.0.attn.q_proj"),
        ("h.0.mlp.c_fcc:0", "h.0.mlp.c_fc"),
        ("h.0.attn.q_proj", "h.0.attn.q_proj"),
    ],
)
def test_an_unknown_site_offers_the_nearest(name, offered):
    with pytest.raises(RankOneError, match=rf"unknown site in '{name}'.*Nearest: .*{offered}"):
        numbered(target(), INDICES).locate(name)


@pytest.mark.parametrize(
    ("number", "near"),
    [("6", ["5", "700"]), ("0", ["2", "5"]), ("9999", ["700"]), ("-1", ["2", "5", "700"]), ("x", ["2", "5"])],
)
def test_an_unknown_number_offers_the_nearest(number, near):
    with pytest.raises(RankOneError, match=r"'h.0.attn.q_proj' keeps 3 subcomponents") as error:
        numbered(target(), INDICES).locate(f"h.0.attn.q_proj:{number}")
    for one in near:
        assert f"h.0.attn.q_proj:{one}" in str(error.value).split("Nearest: ")[1]


def test_a_site_that_keeps_nothing_says_so():
    with pytest.raises(RankOneError, match="keeps 0 subcomponents"):
        numbered(target(), INDICES).locate("h.0.mlp.down_proj:3")


def test_without_indices_subcomponents_are_numbered_from_zero():
    decomposition = decomposed(target())
    assert decomposition.names()[:2] == ["h.0.attn.k_proj:0", "h.0.attn.k_proj:1"]
    assert decomposition.total == 4 * 8 + 2 * 12


@pytest.mark.parametrize("name", list(MODELS))
def test_all_ones_on_an_aligned_start_are_the_clean_logits(name):
    model, tokens = MODELS[name](), probe(2, 8)
    expected = logits(model, tokens).detach()
    with DecomposedModel(model, decomposed(model)) as wrapped:
        found = wrapped.masked(tokens, torch.ones(2, 8, wrapped.decomposition.total))
        assert torch.equal(wrapped.clean(tokens)[0], expected)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", list(MODELS))
def test_ones_and_delta_one_are_the_clean_logits_for_any_factors(name):
    model, tokens = MODELS[name](), probe(2, 8)
    clean = logits(model, tokens).detach()
    with DecomposedModel(model, decomposed(model, "random")) as wrapped:
        ones = torch.ones(2, 8, wrapped.decomposition.total)
        delta = torch.ones(2, 8, len(wrapped.decomposition.sites))
        torch.testing.assert_close(wrapped.masked(tokens, ones, delta), clean, rtol=1e-5, atol=1e-5)
        assert (wrapped.masked(tokens, ones) - clean).abs().max() > 1e-2
        # Not routed is W as well, whatever the masks.
        plain = wrapped.masked(tokens, 0 * ones, 0 * delta, route=0 * delta)
        torch.testing.assert_close(plain, clean, rtol=1e-5, atol=1e-5)


def test_each_mask_column_is_the_subcomponent_of_that_name():
    """Masking one column is subtracting its u vᵀ from the weight."""
    model, tokens = target(), ids()
    decomposition = decomposed(model)
    name = "h.0.mlp.c_fc:7"
    with DecomposedModel(model, decomposition) as wrapped:
        mask = torch.ones(2, 6, decomposition.total)
        mask[..., decomposition.column(name)] = 0
        found = wrapped.masked(tokens, mask)
    v, u = decomposition.vectors(name)
    with torch.no_grad():
        model.get_submodule("h.0.mlp.c_fc").weight -= torch.outer(u, v)
        expected = logits(model, tokens)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_inputs_are_those_of_the_clean_forward():
    model, seen = target(), {}
    decomposition = decomposed(model, "random")
    hooks = [
        model.get_submodule(s).register_forward_pre_hook(lambda _, args, s=s: seen.__setitem__(s, args[0]))
        for s in decomposition.sites
    ]
    model(input_ids=ids())
    for hook in hooks:
        hook.remove()
    with DecomposedModel(model, decomposition) as wrapped:
        _, inputs = wrapped.clean(ids())
        g = wrapped.importance(ids())
    for site, found in zip(decomposition.sites, inputs, strict=True):
        assert torch.equal(found, seen[site]), site
    torch.testing.assert_close(g, decomposition.logits(inputs).clamp(0, 1))
    assert ((g >= 0) & (g <= 1)).all()


def test_masks_are_gone_after_a_failed_forward_and_the_model_after_the_block():
    model, tokens = target(), ids()
    before, modules = snapshot(model), dict(model.named_modules())
    decomposition = decomposed(model, "random")
    with DecomposedModel(model, decomposition) as wrapped:
        with pytest.raises(RuntimeError):
            wrapped.masked(tokens, torch.ones(2, 5, decomposition.total))
        clean = wrapped.clean(tokens)[0]
    assert dict(model.named_modules()) == modules
    assert same(model, before)
    assert torch.equal(logits(model, tokens), clean)


@pytest.fixture
def saved(tmp_path):
    model = target()
    decomposition = numbered(model, INDICES)
    save_decomposition(decomposition, model, tmp_path / "d", {"made": "by a test"}, evidence())
    return model, decomposition, tmp_path / "d"


def test_what_is_saved_is_what_is_loaded(saved):
    model, decomposition, path = saved
    loaded, artifact = load_decomposition(path, model)
    assert loaded.sites == decomposition.sites
    assert loaded.names() == decomposition.names()
    expected = dict(decomposition.named_parameters())
    for name, parameter in loaded.named_parameters():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, expected[name].bfloat16().float()), name
    assert {n for n, _ in loaded.named_parameters()} == set(expected)
    assert not any(p.requires_grad for p in loaded.parameters())
    assert not loaded.training
    assert evidence_of(artifact) == evidence()
    assert artifact.provenance["made"] == "by a test"


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_every_storage_is_loaded_as_it_rounds(tmp_path, storage):
    model = target()
    decomposition = numbered(model, INDICES)
    expected = restored(stored(decomposition.state_dict(), storage))
    save_decomposition(decomposition, model, tmp_path / "d", {}, None, storage)
    loaded, _ = load_decomposition(tmp_path / "d", model)
    assert loaded.names() == decomposition.names()
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_a_loaded_decomposition_runs_like_the_saved_one(tmp_path):
    model = target()
    decomposition = decomposed(model)
    save_decomposition(decomposition, model, tmp_path / "d", {}, None, "float32")
    loaded, _ = load_decomposition(tmp_path / "d", model)
    results = []
    for one in (decomposition, loaded):
        with DecomposedModel(model, one) as wrapped:
            g = wrapped.importance(ids())
            results.append((g, wrapped.masked(ids(), g)))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_a_trained_decomposition_can_be_saved(tmp_path):
    built = trainer(recipe(steps=1))
    with built.model:
        built.step(0)
    save_decomposition(built.decomposition, built.model.target, tmp_path / "d", {}, None)
    loaded, _ = load_decomposition(tmp_path / "d", built.model.target)
    assert loaded.total == built.decomposition.total


def test_the_same_weights_in_bf16_are_the_same_model(tmp_path):
    model = target().bfloat16()
    decomposition = numbered(model, INDICES)
    save_decomposition(decomposition, model, tmp_path / "d", {}, None)
    load_decomposition(tmp_path / "d", model.float())


def test_other_weights_are_refused(saved):
    _, _, path = saved
    with pytest.raises(RankOneError, match=r"other weights of 'h.0.attn.q_proj'"):
        load_decomposition(path, target(seed=1))
    with pytest.raises(RankOneError, match=r"Or open it in float32: in bfloat16 its weights may be rounded"):
        load_decomposition(path, target().bfloat16())


def test_another_architecture_is_refused(saved):
    _, _, path = saved
    with pytest.raises(RankOneError, match="which this model lacks"):
        load_decomposition(path, gpt2())


@pytest.mark.parametrize("name", ["tensors.safetensors", "config.json", "evidence.json"])
def test_an_altered_file_is_refused(saved, name):
    model, _, path = saved
    content = bytearray((path / name).read_bytes())
    content[-3] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(RankOneError, match=rf"{name}' was altered"):
        load_decomposition(path, model)


def test_an_existing_artefact_is_not_overwritten(saved):
    model, decomposition, path = saved
    with pytest.raises(RankOneError):
        save_decomposition(decomposition, model, path, {}, None)
