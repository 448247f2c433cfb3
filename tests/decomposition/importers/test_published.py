"""Imported models compute what an independent reading of the published files computes; wrong files are refused by name."""

from __future__ import annotations

import copy

import pytest
import torch
import yaml
from tests.decomposition import published as pub
from tests.helpers import tokenizer

from rankone.core.errors import RankOneError
from rankone.decomposition.importers.files import locate
from rankone.decomposition.importers.published import import_published
from rankone.decomposition.model import DecomposedModel, load_decomposition
from rankone.models.loading import load_model, load_tokenizer

IDS = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(5))
CLOSE = {"rtol": 1e-4, "atol": 2e-4}
# Eleven layers: plain sorted order has h.10 before h.2, RankOne's order after h.9.
DEEP = {**pub.MODEL_CONFIG, "n_layer": 11, "n_embd": 6, "n_intermediate": 5}


def imported(folder, out, **options):
    """The pair that an import of a folder gives, loaded from disk."""
    import_published(locate(folder), out, **options)
    target = load_model(out / "model")
    return target, load_decomposition(out / "decomposition", target)[0]


def changed(published=pub.DECOMPOSITION_CONFIG, **values):
    """A copy of a configuration with some keys exchanged; None takes a key out."""
    found = copy.deepcopy(published) | values
    return {key: value for key, value in found.items() if value is not None}


def assert_same_functions(
    target, decomposition, state, config=pub.MODEL_CONFIG, published=pub.DECOMPOSITION_CONFIG
):
    """Forward, importances and the masked forward, with delta, against the plain reading of the files."""
    inner = {k.removeprefix("target_model."): v for k, v in state.items() if k.startswith("target_model.")}
    logits, inputs = pub.plain_forward(inner, IDS, config)
    importance = pub.plain_logits_of_importance(state, inputs, published)
    generator = torch.Generator().manual_seed(7)
    counts = pub.site_counts(config, published)
    masks = {n: torch.rand(2, 9, c, generator=generator).double() for n, c in counts.items()}
    deltas = {n: torch.rand(2, 9, generator=generator).double() for n in counts}
    sites = decomposition.sites
    with DecomposedModel(target, decomposition) as model, torch.no_grad():
        clean, seen = model.clean(IDS)
        own = decomposition.logits(seen).split(decomposition.counts, -1)
        mask = torch.cat([masks[s] for s in sites], -1).float()
        masked = model.masked(IDS, mask, torch.stack([deltas[s] for s in sites], -1).float())
    torch.testing.assert_close(clean.double(), logits, **CLOSE)
    for site, value in zip(sites, own, strict=True):
        torch.testing.assert_close(value.double(), importance[site], **CLOSE)
    torch.testing.assert_close(masked.double(), pub.plain_masked(state, IDS, masks, deltas, config), **CLOSE)


@pytest.mark.parametrize("suffix", ["pth", "pt", "safetensors"])
def test_an_imported_pair_computes_what_the_files_say(tmp_path, suffix):
    folder = pub.write_run(tmp_path / "run", suffix=suffix)
    target, decomposition = imported(folder, tmp_path / "out")
    assert decomposition.sites[:2] == ["h.0.attn.k_proj", "h.0.attn.o_proj"]
    assert_same_functions(target, decomposition, pub.decomposition_state())


def test_old_keys_are_the_same_decomposition(tmp_path):
    state = pub.decomposition_state()
    old = pub.old_keys(state)
    assert not old.keys() & {k for k in state if not k.startswith("ci_fn")}
    target, decomposition = imported(pub.write_run(tmp_path / "run", old), tmp_path / "out")
    assert_same_functions(target, decomposition, state)


def test_old_configuration_names_patterns_and_one_count(tmp_path):
    published = changed(module_info=[{"module_pattern": "h.*", "C": 6}])
    state = pub.decomposition_state(published=published)
    old = changed(published, module_info=None, target_module_patterns=["h.*"], C=6)
    folder = pub.write_run(tmp_path / "run", state, old)
    (folder / "target" / "model_config.yaml").write_text(
        yaml.safe_dump({k: v for k, v in pub.MODEL_CONFIG.items() if k != "model_type"})
    )
    target, decomposition = imported(folder, tmp_path / "out")
    assert_same_functions(target, decomposition, state, published=published)


def test_sites_in_another_order_keep_their_columns(tmp_path):
    state = pub.decomposition_state(DEEP)
    folder = pub.write_run(tmp_path / "run", state, config=DEEP)
    target, decomposition = imported(folder, tmp_path / "out")
    assert decomposition.sites != sorted(decomposition.sites)
    assert_same_functions(target, decomposition, state, DEEP)


def test_a_part_of_the_sites(tmp_path):
    published = changed(module_info=pub.DECOMPOSITION_CONFIG["module_info"][:1])
    keep = ("target_model.", "_components.h-0-attn-q_proj", "_components.h-1-attn-q_proj", "ci_fn.")
    state = {k: v for k, v in pub.decomposition_state().items() if k.startswith(keep)}
    state["ci_fn._global_ci_fn._input_projector.W"] = torch.randn(24, 16)
    state["ci_fn._global_ci_fn._output_head.W"] = torch.randn(16, 10)
    state["ci_fn._global_ci_fn._output_head.b"] = torch.randn(10)
    _, decomposition = imported(pub.write_run(tmp_path / "run", state, published), tmp_path / "out")
    assert decomposition.sites == ["h.0.attn.q_proj", "h.1.attn.q_proj"]
    assert decomposition.counts == [5, 5]


def test_a_target_alone(tmp_path):
    folder = pub.write_target(tmp_path / "t")
    found = import_published(locate(folder), tmp_path / "out")
    assert found.decomposition is None
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["model"]
    expected, _ = pub.plain_forward(pub.target_state(), IDS)
    torch.testing.assert_close(load_model(found.model)(IDS).logits.double(), expected, **CLOSE)


def test_a_target_without_its_unembedding(tmp_path):
    state = {k: v for k, v in pub.target_state().items() if k != "lm_head.weight"}
    folder = pub.write_target(tmp_path / "t", state=state, suffix="safetensors")
    import_published(locate(folder), tmp_path / "out")
    expected, _ = pub.plain_forward(pub.target_state(), IDS)
    torch.testing.assert_close(load_model(tmp_path / "out/model")(IDS).logits.double(), expected, **CLOSE)


def test_the_account_says_how_much_of_each_weight_is_explained(tmp_path):
    state = pub.decomposition_state()
    weight = state["target_model.h.1.attn.q_proj.weight"]
    left, values, right = torch.linalg.svd(weight)
    state["_components.h-1-attn-q_proj.V"] = (right[:5] * values[:5, None]).T.contiguous()
    state["_components.h-1-attn-q_proj.U"] = left[:, :5].T.contiguous()
    found = import_published(locate(pub.write_run(tmp_path / "run", state)), tmp_path / "out")
    share = values[5:].square().sum() / values.square().sum()
    assert found.unexplained["h.1.attn.q_proj"] == pytest.approx(share.item(), rel=1e-4)
    assert found.counts["h.1.attn.q_proj"] == 5


def test_the_run_s_tokenizer_comes_along(tmp_path):
    config = {**pub.MODEL_CONFIG, "vocab_size": 300}
    folder = pub.write_target(tmp_path / "t", config)
    tokenizer().backend_tokenizer.save(str(folder / "tokenizer.json"))
    assert import_published(locate(folder), tmp_path / "out").tokenizer
    read = load_tokenizer(tmp_path / "out/model")
    assert read.bos_token == read.eos_token == "<|endoftext|>"
    assert load_model(tmp_path / "out/model").config.bos_token_id == read.bos_token_id
    small = pub.write_target(tmp_path / "small")
    with pytest.raises(RankOneError, match="has 291 entries, the model 50"):
        import_published(locate(small), tmp_path / "no", tokenizer=str(folder / "tokenizer.json"))
    with pytest.raises(RankOneError, match="no tokenizer at"):
        import_published(locate(small), tmp_path / "no", tokenizer=str(tmp_path / "tokenizer.json"))


def test_provenance_names_files_and_configurations(tmp_path):
    from rankone.core.artifact import open_artifact

    import_published(locate(pub.write_run(tmp_path / "run")), tmp_path / "out")
    provenance = open_artifact(tmp_path / "out/decomposition").provenance
    assert set(provenance["imported"]["files"]) == {
        "model_400000.pth",
        "final_config.yaml",
        "model_step_99999.pt",
        "model_config.yaml",
    }
    assert provenance["imported"]["configurations"]["final_config.yaml"]["tokenizer_name"]
    assert provenance["original_subcomponents"] == pub.site_counts()


GAMMA = "ci_fn._global_ci_fn."
FACTOR = "_components.h-0-mlp-c_fc.V"


def without(key):
    return lambda state: state.pop(key)


def put(key, value):
    return lambda state: state.update({key: value})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without(FACTOR), rf"1 missing: {FACTOR} \[12, 15\]"),
        (without(f"{GAMMA}_blocks.1.mlp.2.b"), r"1 missing: .*_blocks\.1\.mlp\.2\.b \[16\]"),
        (without("target_model.h.1.rms_2.weight"), r"1 missing: h\.1\.rms_2\.weight \[12\]"),
        (put("ci_fn.more", torch.ones(3)), r"1 not expected: ci_fn\.more \[3\]"),
        (
            put(FACTOR, torch.ones(15, 12)),
            rf"1 of another shape: {FACTOR} is \[15, 12\], expected \[12, 15\]",
        ),
        (put(f"{GAMMA}_output_head.b", torch.ones(99)), r"_output_head\.b is \[99\], expected \[100\]"),
        (put(FACTOR, torch.full((12, 15), torch.nan)), f"1 not finite: {FACTOR}"),
        (put(f"{GAMMA}_blocks.0.attn.rope.inv_freq", torch.ones(2)), "rotary frequencies of another base"),
        (put("target_model.lm_head.weight", torch.ones(50, 12)), "unembedding .* other than its embedding"),
        (
            put("target_model.h.0.attn.q_proj.weight", torch.ones(12, 12)),
            r"another target: its h\.0\.attn\.q_proj",
        ),
        (put("patched_model.ln_f.weight", torch.ones(12)), r"key 'target_model\.ln_f\.weight' twice"),
        (put("lonely", 3), "holds a int under 'lonely'"),
    ],
)
def test_wrong_files_are_named_and_nothing_is_written(tmp_path, damage, message):
    state = pub.decomposition_state()
    damage(state)
    folder = pub.write_run(tmp_path / "run", state)
    with pytest.raises(RankOneError, match=message):
        import_published(locate(folder), tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"ci_config": {"mode": "layerwise", "fn_type": "shared_mlp", "hidden_dims": [8]}},
            "'shared_mlp'; only",
        ),
        ({"ci_config": None, "ci_fn_type": "vector_mlp"}, "'vector_mlp'; only"),
        ({"sigmoid_type": "normal"}, "sigmoid_type is 'normal'"),
        ({"module_info": [{"module_pattern": "wte", "C": 3}]}, "'wte' matches no linear map"),
        ({"module_info": [{"module_pattern": "h.*", "C": 0}]}, "C of at least 1"),
        (
            {"module_info": [{"module_pattern": "h.*", "C": 3}]},
            r"26 of another shape.* is \[12, 5\], expected \[12, 3\].* and 18 more",
        ),
        ({"module_info": None}, "names no decomposed modules"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(tmp_path, values, message):
    folder = pub.write_run(tmp_path / "run", pub.decomposition_state(), changed(**values))
    with pytest.raises(RankOneError, match=message):
        import_published(locate(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"mlp_hidden_dim": [24, 24]}, r"mlp_hidden_dim \[24, 24\]"),
        ({"attn_config": {"n_heads": 4, "rope_base": 500.0}}, "rope_base 500"),
        ({"final_norm": True}, "final_norm"),
        ({"n_blocks": 3}, r"missing: .*_blocks\.2\.attn\.q_proj\.weight \[16, 16\]"),
    ],
)
def test_importance_sizes_that_do_not_fit_are_refused(tmp_path, sizes, message):
    published = changed()
    published["ci_config"]["simple_transformer_ci_cfg"] |= sizes
    folder = pub.write_run(tmp_path / "run", pub.decomposition_state(), published)
    with pytest.raises(RankOneError, match=message):
        import_published(locate(folder), tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "LlamaSimple"}, "model_type"),
        ({"attn_bias": True}, "attn_bias"),
        ({"rotary_adjacent_pairs": True}, "rotary_adjacent_pairs"),
        ({"n_key_value_heads": 1}, "1 key-value heads for 3 heads"),
        ({"n_head": 5}, "5 key-value|key-value heads for 5"),
        ({"n_layer": 3}, r"missing: .*h\.2\.rms_1\.weight \[12\]"),
        ({"logit_cap": 3}, "logit_cap"),
    ],
)
def test_targets_of_another_architecture_are_refused(tmp_path, values, message):
    folder = pub.write_target(tmp_path / "t", pub.MODEL_CONFIG)
    (folder / "model_config.yaml").write_text(yaml.safe_dump(pub.MODEL_CONFIG | values))
    with pytest.raises(RankOneError, match=message):
        import_published(locate(folder), tmp_path / "out")


def test_missing_configurations_say_where_they_are_from(tmp_path):
    folder = pub.write_run(tmp_path / "run")
    (folder / "final_config.yaml").unlink()
    with pytest.raises(RankOneError, match=r"no final_config\.yaml beside"):
        import_published(locate(folder), tmp_path / "out")
    (folder / "target" / "model_config.yaml").unlink()
    with pytest.raises(RankOneError, match=r"no model_config.yaml.*--target"):
        import_published(locate(folder), tmp_path / "out")


def test_an_existing_output_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(RankOneError, match="already exists"):
        import_published(locate(pub.write_run(tmp_path / "run")), tmp_path / "out")
