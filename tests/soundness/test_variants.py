"""Variants of the kinds that once failed, found by reading the code for where a kind could still occur."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tests.decomposition.tiny import decomposed
from tests.helpers import VOCAB, gpt2, llama, random_edit, simple_mlp, snapshot, tokenizer
from torch import nn
from transformers import BertConfig, BertLMHeadModel, DeepseekV3Config, DeepseekV3ForCausalLM

import rankone
from rankone.core.artifact import new_artifact, open_artifact, refuse_existing
from rankone.core.claims import claim
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.files import write_json
from rankone.decomposition import model as decomposition
from rankone.decomposition.model import DecomposedModel
from rankone.edits import export
from rankone.edits.adapter_reading import read_adapter
from rankone.edits.lowrank.factors import Factors
from rankone.models.loading import load_model
from rankone.models.sites import find_sites, left_out
from rankone.models.sources import fetching
from rankone.models.unembedding import unembedding_of
from rankone.text.sources.builtin import BuiltinCorpus
from rankone.workspace import Workspace


def weights(model):
    """Every parameter with its dtype."""
    return {name: (value.dtype, value) for name, value in snapshot(model).items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert all(
        a == b and torch.equal(x, y) for (a, x), (b, y) in zip(first.values(), second.values(), strict=True)
    )


# Kind 1: nobody but the writer is asked. An edit below the tolerance passed with an adapter of zeros.
@pytest.mark.usefixtures("here")
def test_an_adapter_without_effect_is_refused_however_small_the_edit(tmp_path, monkeypatch):
    model = llama()
    model.save_pretrained(tmp_path / "base")
    edit = random_edit(model, {"*": 1}, size=1e-6).bind(model)
    write = export.write_adapter

    def idle(model, factors, folder, base):
        write(model, {n: Factors(0 * f.write, f.read) for n, f in factors.items()}, folder, base)

    export.export_adapter(model, edit, tmp_path / "whole", str(tmp_path / "base"))
    monkeypatch.setattr(export, "write_adapter", idle)
    with pytest.raises(
        RankOneError, match=r"does not reproduce the edited model.* 0\.0% of the edit realised"
    ):
        export.export_adapter(model, edit, tmp_path / "idle", str(tmp_path / "base"))
    assert not (tmp_path / "idle").exists()


# Kind 2: code of the current folder. `python -m pip` finds a pip.py there first.
def test_no_pip_of_the_current_folder_runs(tmp_path, monkeypatch):
    (tmp_path / "pip.py").write_text("open('ran', 'w').close()", "utf8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RankOneError, match="pip could not download 'rankone-none'"):
        fetching._download("rankone-none", tmp_path / "wheels")
    assert not (tmp_path / "ran").exists()


def test_every_child_is_started_apart_from_the_current_folder():
    started = [
        (path.name, node.elts[1].value)
        for path in Path(rankone.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf8")))
        if isinstance(node, ast.List) and node.elts and ast.unparse(node.elts[0]) == "sys.executable"
    ]
    assert started
    assert all(flag in ("-P", "-I") for _, flag in started), started


# What a killed run leaves in the temporary folder: known by its name, or `doctor --clean` leaves it there.
def test_temporary_folders_are_made_in_one_place():
    sources = Path(rankone.__file__).parent.rglob("*.py")
    made = ("TemporaryDirectory(", "mkdtemp(", "Scratch:")
    assert {path.name for path in sources if any(word in path.read_text("utf8") for word in made)} == {
        "scratch.py"
    }


# Kind 3: check, then act. A file that appeared at an output was replaced.
def test_a_file_that_appears_at_an_output_during_the_work_is_left_as_it_is(tmp_path):
    out = tmp_path / "figures.json"
    with claim(out):
        out.write_text("mine", "utf8")
        with pytest.raises(RankOneError, match=r"something else has appeared at .*figures"):
            write_json(out, {}, new=True)
    assert out.read_text("utf8") == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
    write_json(tmp_path / "new.json", {"a": 1}, new=True)
    assert (tmp_path / "new.json").stat().st_nlink == 1


# Kind 3: an output inside an input. The input was no longer what its manifest says, and refused from then on.
def test_an_output_inside_an_artefact_is_refused_before_any_work(tmp_path):
    with new_artifact(tmp_path / "input", "thing") as staging:
        write_json(staging / "a.json", {})
    for place in (tmp_path / "input" / "out", tmp_path / "input" / "more" / "out.json"):
        with pytest.raises(RankOneError, match=r"would lie inside .*input', an artefact of kind 'thing'"):
            refuse_existing(place)
    open_artifact(tmp_path / "input")


# Kind 4: half of what lies there is read. Weights whole and in shards: tools differ in which they take.
def test_weights_that_lie_there_twice_are_refused(tmp_path):
    llama(seed=0).save_pretrained(tmp_path / "model")
    llama(seed=1).save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    for path in (tmp_path / "shards").glob("model*"):
        path.rename(tmp_path / "model" / path.name)
    with pytest.raises(RankOneError, match=r"holds weights twice.*model-00001-of-0000\d\.safetensors"):
        load_model(tmp_path / "model")


# Kind 6: state without a transaction. A merge in place that stops half-way.
@pytest.mark.parametrize("build", [llama, gpt2])
def test_a_merge_in_place_that_stops_half_way_leaves_the_model_as_it_was(build, monkeypatch):
    model = build()
    edit, before = random_edit(model, {"*": 2}), weights(model)
    merged = edit.merge(model, torch.bfloat16).model
    last = find_sites(model)[-1].module
    written = nn.Module.get_parameter

    def interrupted(module, name):
        if module is last and model.get_input_embeddings().weight.dtype == torch.bfloat16:
            raise KeyboardInterrupt
        return written(module, name)

    monkeypatch.setattr(nn.Module, "get_parameter", interrupted)
    with pytest.raises(KeyboardInterrupt):
        edit.merge(model, torch.bfloat16, in_place=True)
    monkeypatch.undo()
    assert_same(weights(model), before)
    edit.merge(model, torch.bfloat16, in_place=True)
    assert_same(weights(model), weights(merged))


# Kind 6: a wrap that stops after its sites were put in place left the target wrapped.
def test_a_wrap_that_stops_half_way_leaves_the_target_as_it_was(monkeypatch):
    target = simple_mlp()
    modules = dict(target.named_modules())
    wrapped = DecomposedModel(target, decomposed(target))

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(decomposition, "late_start", stopped)
    with pytest.raises(KeyboardInterrupt):
        wrapped.__enter__()
    assert dict(target.named_modules()) == modules


# Kind 7: what surrounds the call decides. Sums said to be of float32, under a caller's autocast of bfloat16.
def test_a_callers_autocast_does_not_round_an_edit():
    model = llama()
    edit = random_edit(model, {"*": 2})
    with edit.applied(model):
        wanted = weights(model)
    with torch.autocast("cpu", torch.bfloat16), edit.applied(model):
        assert_same(weights(model), wanted)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(weights(edit.merge(model).model), wanted)


# Kind 7: dropout of a model in training mode was measured, another figure each time.
def test_a_model_in_training_mode_is_refused():
    with pytest.raises(RankOneError, match=r"GPT2LMHeadModel is in training mode.*model\.eval\(\)"):
        Workspace(gpt2().train(), tokenizer(), BuiltinCorpus())


# Kind 8: structure from names. A head with a transform; a norm that is registered after the final one.
def test_an_unembedding_that_the_logits_do_not_follow_is_refused():
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
    config = BertConfig(vocab_size=VOCAB, **sizes, is_decoder=True, initializer_range=0.2)
    with pytest.raises(
        RankOneError, match="BertLMHeadModel makes of its residual stream is not its unembedding"
    ):
        unembedding_of(BertLMHeadModel(config).eval())
    model = llama()
    model.model.norm.weight.data.uniform_(0.1, 2.0)
    model.model.embedding_norm = nn.LayerNorm(24)
    model.model.embedding_norm.weight.data.uniform_(0.1, 2.0)
    with pytest.raises(RankOneError, match="not its unembedding"):
        unembedding_of(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("build", [simple_mlp, gpt2, llama])
def test_an_unembedding_that_the_logits_follow_passes(build, dtype):
    assert unembedding_of(build().to(dtype)).rows.shape == (VOCAB, 24)


# Kind 8: sharing was seen among linear maps of the blocks and embeddings alone.
@pytest.mark.parametrize("what", ["a head", "a parameter", "a buffer"])
def test_a_weight_shared_with_anything_is_no_site(what):
    model, name = llama(), "model.layers.0.mlp.up_proj"
    weight = model.get_parameter(f"{name}.weight")
    if what == "a head":
        model.second = nn.Linear(24, 40, bias=False)
        model.second.weight = weight
    elif what == "a parameter":
        model.model.register_parameter("kept", weight)
    else:
        model.model.register_buffer("kept", weight.data.T)
    assert name not in [site.name for site in find_sites(model)]
    assert "shared with" in left_out(model)[name]


# Kind 9: YAML's first version took words and numbers for others, and a recipe meant something else.
class _Said(Config):
    domains: list[str]
    steps: int
    rate: float = 0.0


def test_words_and_numbers_of_a_recipe_mean_what_they_say(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("domains: [de, no, on, y]\nsteps: 010\nrate: 1e-3\n", "utf8")
    read = _Said.from_yaml(path)
    assert (read.domains, read.steps, read.rate) == (["de", "no", "on", "y"], 10, 1e-3)
    path.write_text("domains: []\nsteps: 1:40\n", "utf8")
    with pytest.raises(RankOneError, match="steps: must be a valid integer"):
        _Said.from_yaml(path)


# Kind 10: acceptance that is weak. NaN in a saved buffer, as the routing bias of DeepSeek is one.
def test_a_saved_buffer_with_nan_is_refused_by_name(tmp_path):
    sizes = {"hidden_size": 32, "intermediate_size": 40, "moe_intermediate_size": 16, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "q_lora_rank": None, "kv_lora_rank": 16}
    widths = {"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "first_k_dense_replace": 1}
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1}
    model = DeepseekV3ForCausalLM(DeepseekV3Config(vocab_size=VOCAB, **sizes, **heads, **widths, **experts))
    biases = [name for name, _ in model.named_buffers() if name.endswith("correction_bias")]
    model.get_buffer(biases[0]).fill_(float("nan"))
    model.save_pretrained(tmp_path)
    with pytest.raises(RankOneError, match=f"the buffer '{biases[0]}' of .* holds NaN"):
        load_model(tmp_path)


# Kind 12: reading without an end. Pipes and devices in the place of files that are not text.
def _artefact(folder):
    return lambda: open_artifact(folder)


def _adapter(folder):
    return lambda: read_adapter(folder)


def _model(folder):
    llama().save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    return lambda: load_model(folder)


SPECIAL = {
    "manifest.json": _artefact,
    "adapter_config.json": _adapter,
    "model.safetensors": _model,
}


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", SPECIAL)
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_refused_at_once(name, make, tmp_path):
    read = SPECIAL[name](tmp_path)
    make(tmp_path / name)
    with pytest.raises(RankOneError, match=f"{name}.*it is not a regular file"):
        read()


# What served adapters must allow: several of them on one base, exchanged while it stands.
@pytest.mark.parametrize("build", [llama, gpt2])
def test_adapters_are_swapped_on_one_base(build, tmp_path):
    """Of other sites and ranks each; by PEFT itself. The first one's effect is back after the second's."""
    ids = torch.arange(12).reshape(2, 6)
    base, edits = build(), {}
    for name, ranks in (("one", {"*mlp*": 1}), ("two", {"*": 3})):
        edits[name] = random_edit(base, ranks, seed=len(name) + len(edits))
        (tmp_path / name).mkdir()
        export.write_adapter(base, edits[name].factors, tmp_path / name, "base")
    served = PeftModel.from_pretrained(build(), str(tmp_path / "one"), adapter_name="one").eval()
    served.load_adapter(str(tmp_path / "two"), adapter_name="two")
    for name in ("one", "two", "one"):
        served.set_adapter(name)
        with torch.no_grad(), edits[name].applied(base):
            assert torch.allclose(served(ids).logits, base(ids).logits, atol=1e-4)
    with torch.no_grad(), served.disable_adapter():
        assert torch.equal(served(ids).logits, base(ids).logits)
