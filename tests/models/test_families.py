"""Models of every family by name or path: loaded from their files, or as a skeleton from the configuration."""

from __future__ import annotations

import json

import pytest
import torch
from tests.helpers import VOCAB, gpt2, llama, probe, simple_mlp
from tests.models.families import FAMILIES, sites_of

from rankone.core.errors import RankOneError
from rankone.models.loading import load_model, load_skeleton
from rankone.models.sites import find_sites


def shapes(model):
    return {s.name: (s.d_out, s.d_in) for s in find_sites(model)}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_saved_files_load_to_the_same_logits_and_to_the_same_skeleton(family, tmp_path):
    model, ids = FAMILIES[family][0](), probe()
    model.save_pretrained(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids).logits, model(input_ids=ids).logits)
    for weights in (tmp_path / "m").glob("*.safetensors"):
        weights.unlink()  # the skeleton needs none
    skeleton = load_skeleton(tmp_path / "m")
    assert all(p.is_meta for p in skeleton.parameters())
    assert shapes(skeleton) == sites_of(family)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == (skeleton.get_output_embeddings().weight is skeleton.get_input_embeddings().weight)


def test_pickled_weights_are_not_read(tmp_path):
    model = llama()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    said = r"weights as a pickle \('pytorch_model.bin'\).*from_pretrained\('.*'\).save_pretrained\(DIR\)"
    with pytest.raises(RankOneError, match=said):
        load_model(tmp_path)
    assert load_skeleton(tmp_path).num_parameters() == model.num_parameters()  # reads no weights


def test_a_quantised_checkpoint_is_refused_before_it_is_read(tmp_path):
    llama().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf8"))
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": 8}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf8")
    for load in (load_model, load_skeleton):
        with pytest.raises(
            RankOneError, match=r"is quantised \(gptq\).*Load the checkpoint it was quantised from"
        ):
            load(tmp_path)


def test_what_is_no_causal_language_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}), "utf8")
    for load in (load_model, load_skeleton):
        with pytest.raises(RankOneError, match="cannot load the model"):
            load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-thing"}), "utf8")
    with pytest.raises(RankOneError, match="cannot load the model"):
        load_skeleton(tmp_path)


def test_the_helpers_agree_on_the_vocabulary():
    assert {m.get_input_embeddings().weight.shape[0] for m in (gpt2(), llama(), simple_mlp())} == {VOCAB}
