"""The matrices that headers tell of, against those of the opened model."""

from __future__ import annotations

import pytest
from tests.helpers import VOCAB, simple_mlp
from transformers import AutoConfig, AutoModelForCausalLM

from rankone.core.errors import RankOneError
from rankone.models.anatomy import _BASES
from rankone.models.sites import find_sites
from rankone.models.sources.matrices import inside_blocks, matrices_in, require_layer

SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 40,
    "pad_token_id": 0,
}
ORDINARY = sorted(set(_BASES) - {"rankone_simple_mlp"})


def small(kind):
    known = AutoConfig.for_model(kind)
    return AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, **{k: v for k, v in SMALL.items() if hasattr(known, k)})
    )


@pytest.mark.parametrize("kind", ["rankone_simple_mlp", *ORDINARY])
def test_paths_are_those_of_the_sites(kind, tmp_path):
    model = simple_mlp() if kind == "rankone_simple_mlp" else small(kind)
    model.save_pretrained(tmp_path)
    sites = find_sites(model)
    shapes = matrices_in(tmp_path)
    assert inside_blocks(shapes) == [site.name for site in sites]
    assert all(sorted(shapes[site.name]) == sorted((site.d_out, site.d_in)) for site in sites)


def test_paths_without_the_base_model_are_completed(tmp_path):
    model = small("gpt2")
    model.transformer.save_pretrained(tmp_path)
    assert inside_blocks(matrices_in(tmp_path)) == [site.name for site in find_sites(model)]


def test_what_headers_do_not_tell_is_left_open(tmp_path):
    assert matrices_in(tmp_path) is None
    (tmp_path / "config.json").write_text('{"model_type": "mixtral"}', "utf8")
    assert matrices_in(tmp_path) is None
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', "utf8")
    assert matrices_in(tmp_path) is None
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 20)
    assert matrices_in(tmp_path) is None


def test_a_layer_that_is_not_there():
    require_layer(10, {"h.10.a": (2, 2), "wte": (3, 2)})
    with pytest.raises(RankOneError, match="no attention in layer 11: the model has layers 0 to 10"):
        require_layer(11, {"h.10.a": (2, 2), "wte": (3, 2)})
