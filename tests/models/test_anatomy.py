"""What names say of real architectures, and that no other file knows such names."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.helpers import gpt2, llama, simple_mlp
from torch import nn
from transformers import Gemma2Config, LlamaConfig, MptConfig

from rankone.core.errors import RankOneError
from rankone.models import anatomy
from rankone.models.anatomy import (
    acts_on_scores,
    bends_logits,
    feeds,
    fused_note,
    holds_experts,
    in_attention,
    is_attention_output,
    is_norm,
    is_output,
    is_value,
    layer_number,
    leaf_of,
    module_of,
    reads_residual,
    stated_context,
    value_heads,
    writes_residual,
)
from rankone.models.sites import find_sites

ROOT = Path(anatomy.__file__).parents[1]
# The built-in architecture is written here, and what foreign files call its parts is read there.
OWN = {"models/anatomy.py", "models/simple_mlp.py", "decomposition/importers/target.py"}
LLAMA = "model.layers.{}.{}"
NAMES = {
    *anatomy._ATTENTION_OUTPUTS,
    *anatomy._MLP_OUTPUTS,
    *anatomy._EITHER_OUTPUT,
    *anatomy._SCORES,
    *anatomy._FUSED,
    *anatomy._CONTEXT_KEYS,
    *anatomy._AFTER_UNEMBEDDING,
    "v_proj",
    "num_key_value_heads",
} - {"key", "query", "dense"}  # words that stand for other things too


def test_paths():
    assert leaf_of("model.layers.12.self_attn.q_proj") == "q_proj"
    assert module_of("model.layers.12.self_attn.q_proj") == "model.layers.12.self_attn"
    assert layer_number("model.layers.12.experts.3.up_proj") == 12
    assert (layer_number("lin1"), layer_number("layers.0")) == (-1, -1)


@pytest.mark.parametrize(
    ("model", "outputs", "scores", "values", "fused"),
    [
        (llama(), {"o_proj", "down_proj"}, {"q_proj", "k_proj"}, {"v_proj"}, set()),
        (gpt2(), {"c_proj"}, set(), set(), {"c_attn"}),
        (simple_mlp(), {"o_proj", "down_proj"}, {"q_proj", "k_proj"}, {"v_proj"}, set()),
    ],
)
def test_kinds_of_sites(model, outputs, scores, values, fused):
    names = [site.name for site in find_sites(model)]
    kinds = ((is_output, outputs), (acts_on_scores, scores), (is_value, values), (fused_note, fused))
    for kind, expected in kinds:
        assert {leaf_of(n) for n in names if kind(n)} == expected
    attention = {n for n in names if "attn" in n}
    assert attention == {n for n in names if in_attention(n)} != set(names)
    assert {n for n in attention if is_output(n)} == {n for n in attention if is_attention_output(n)}


@pytest.mark.parametrize(
    ("model", "leaves"),
    [
        (llama(), {"o_proj", "down_proj"}),
        (gpt2(), {"c_proj"}),
        (simple_mlp(), {"o_proj", "down_proj"}),
    ],
)
def test_writers_and_readers(model, leaves):
    sites = find_sites(model)
    writers = {s.name.rsplit(".", 1)[1] for s in sites if writes_residual(s.name, s.d_out, 24)}
    assert writers == leaves
    assert all(reads_residual(s.name, s.d_in, 24) != (s.name.rsplit(".", 1)[1] in leaves) for s in sites)


def test_what_feeds_what():
    model = llama()
    shapes = {s.name: (s.d_in, s.d_out) for s in find_sites(model)}

    def read_by(writer):
        return {r for r in shapes if feeds(writer, r, shapes, 24)}

    def layer(i, *names):
        return {LLAMA.format(i, n) for n in names}

    attention = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    mlp = ("mlp.up_proj", "mlp.gate_proj")
    (down, o, up, v, q) = (
        LLAMA.format(0, n)
        for n in ("mlp.down_proj", "self_attn.o_proj", "mlp.up_proj", "self_attn.v_proj", "self_attn.q_proj")
    )
    assert read_by(down) == layer(1, *attention, *mlp)
    assert read_by(o) == layer(0, *mlp) | layer(1, *attention, *mlp)
    assert read_by(up) == layer(0, "mlp.down_proj")
    assert read_by(q) == set()
    assert read_by(v) == set()  # grouped: its 12 dimensions are not the 24 that o_proj reads
    assert read_by(LLAMA.format(1, "mlp.down_proj")) == set()


def test_values_feed_the_attention_output():
    shapes = {s.name: (s.d_in, s.d_out) for s in find_sites(simple_mlp())}
    assert {r for r in shapes if feeds("h.0.attn.v_proj", r, shapes, 24)} == {"h.0.attn.o_proj"}


def test_an_output_outside_of_a_named_module_is_attentions():
    assert in_attention("h.0.out_proj")
    assert not in_attention("h.0.fc_out")
    assert not is_attention_output("h.0.fc_out")


def test_modules():
    assert is_norm(nn.LayerNorm(2))
    assert not is_norm(nn.Linear(2, 2))
    experts = type("MixtralExperts", (nn.Module,), {})()
    assert holds_experts(experts)
    assert not holds_experts(nn.Linear(2, 2))


def test_configurations():
    assert stated_context(LlamaConfig(max_position_embeddings=77)) == 77
    assert stated_context(MptConfig(max_seq_len=99)) == 99
    with pytest.raises(RankOneError, match="has max_position_embeddings 'many', which is not a number"):
        stated_context(SimpleNamespace(max_position_embeddings="many"))
    assert value_heads(LlamaConfig(num_attention_heads=4, num_key_value_heads=2)) == 2
    assert bends_logits(Gemma2Config(final_logit_softcapping=30.0))
    assert not bends_logits(Gemma2Config(final_logit_softcapping=None))
    assert not bends_logits(LlamaConfig())


def test_no_other_file_knows_such_names():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value}"
        for path in sorted(ROOT.rglob("*.py"))
        if "assets" not in path.parts and path.relative_to(ROOT).as_posix() not in OWN
        for node in ast.walk(ast.parse(path.read_text("utf8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMES
    ]
    assert found == []
