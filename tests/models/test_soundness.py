"""Models that would be measured wrong are refused by name before anything is measured."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.helpers import VOCAB, gpt2, llama, simple_mlp, tokenizer
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertLMHeadModel,
    BigBirdConfig,
    BigBirdForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    XLNetConfig,
    XLNetLMHeadModel,
)

from rankone.core.errors import RankOneError
from rankone.models.loading import load_model
from rankone.models.soundness import require_causal, require_fitting, require_plain_weights
from rankone.text.sources.builtin import BuiltinCorpus
from rankone.workspace import Workspace

SMALL = {"vocab_size": VOCAB, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}


def bert(spread=0.2, **more):
    torch.manual_seed(0)
    return BertConfig(**SMALL, intermediate_size=40, initializer_range=spread, **more)


def mixtral():
    """Eight tokens for four experts: how many go to one changes with each of them, and so does the order of sums."""
    torch.manual_seed(0)
    sizes = {
        "intermediate_size": 40,
        "num_key_value_heads": 2,
        "num_local_experts": 4,
        "initializer_range": 0.2,
    }
    return MixtralForCausalLM(MixtralConfig(**SMALL, **sizes)).eval()


def xlnet():
    torch.manual_seed(0)
    config = XLNetConfig(vocab_size=VOCAB, d_model=24, n_layer=2, n_head=2, d_inner=40, initializer_range=0.2)
    return XLNetLMHeadModel(config)


@pytest.mark.parametrize("build", [simple_mlp, gpt2, llama])
def test_causal_models_pass(build):
    require_causal(build())


def test_models_that_see_later_tokens_are_refused(tmp_path):
    BertForMaskedLM(bert()).save_pretrained(tmp_path / "bert")
    # As it is initialised by default, a token moves the logits of the others by less than a thousandth.
    BertForMaskedLM(bert(spread=0.02)).save_pretrained(tmp_path / "faint")
    xlnet().save_pretrained(tmp_path / "xlnet")
    for name in ("bert", "faint", "xlnet"):
        with pytest.raises(RankOneError, match="sees later tokens"):
            load_model(tmp_path / name)
    with pytest.raises(RankOneError, match="BertLMHeadModel sees later tokens"):
        Workspace(BertLMHeadModel(bert()).eval(), tokenizer(), BuiltinCorpus())
    BertLMHeadModel(bert(is_decoder=True)).save_pretrained(tmp_path / "decoder")
    load_model(tmp_path / "decoder")


def test_a_model_that_is_training_is_tried_in_eval_mode_and_left_training():
    model = gpt2().train()
    require_causal(model)
    assert model.training


def biased_llama(tmp_path):
    torch.manual_seed(0)
    config = LlamaConfig(**SMALL, intermediate_size=40, attention_bias=True, max_position_embeddings=64)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    return tmp_path


def configured(folder, **changed):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf8")), **changed}), "utf8")
    return folder


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"attention_bias": False}, r"model\.layers\.0\.self_attn\.k_proj\.bias.*\(8 in all\)"),
        ({"num_hidden_layers": 1}, r"model\.layers\.1\.input_layernorm\.weight"),
    ],
)
def test_tensors_that_the_config_does_not_name_are_refused(tmp_path, changed, named):
    load_model(biased_llama(tmp_path))
    with pytest.raises(RankOneError, match=f"has no place for: {named}"):
        load_model(configured(tmp_path, **changed))


def test_an_adapter_beside_the_model_is_refused(tmp_path):
    llama().save_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}", "utf8")
    with pytest.raises(RankOneError, match=r"holds an adapter beside the model .*merge_and_unload"):
        load_model(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    llama().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 2] = value
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        RankOneError, match=r"'model\.layers\.1\.mlp\.up_proj\.weight' of .* holds NaN or inf"
    ):
        load_model(tmp_path)


def test_weights_without_values_and_quantised_ones_are_refused_by_name():
    with torch.device("meta"):
        empty = simple_mlp()
    with pytest.raises(RankOneError, match=r"'wte\.weight' has no values"):
        require_causal(empty)
    model = simple_mlp()
    layer = model.get_submodule("h.0.mlp.c_fc")
    layer.weight = nn.Parameter(torch.ones(40, 24, dtype=torch.int8), requires_grad=False)
    with pytest.raises(RankOneError, match=r"'h\.0\.mlp\.c_fc\.weight' is not a plain matrix.*torch\.int8"):
        require_plain_weights(model)


def test_token_ids_past_the_embedding_are_refused():
    words, model = tokenizer(), simple_mlp()
    require_fitting(words, model)
    words.add_tokens([f"<extra {i}>" for i in range(301 - len(words))])
    with pytest.raises(
        RankOneError, match=r"301 entries, the model 300 \(its ids go up to 300, '<extra \d+>'\)"
    ):
        Workspace(model, words, BuiltinCorpus())


@pytest.mark.parametrize(
    "content",
    [
        b'{"model_type": "llama", "hidden_size": ' + b"9" * 5000 + b"}",
        b'{"model_type": "llama", "hidden_size": "many"}',
        b'{"a": ' * 20_000,
        b'{"model_type": "llama", "num_attention_heads": 0}',
        b'{"model_type": "llama", "num_hidden_layers": -1, "vocab_size": null}',
        b"[]",
        b"\xff\xfe",
    ],
)
def test_configurations_of_any_content_are_named_errors(tmp_path, content):
    llama().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(RankOneError, match=f"{tmp_path}"):
        load_model(tmp_path)


def test_a_look_ahead_at_some_positions_alone_is_seen():
    class Peeking(LlamaForCausalLM):
        def forward(self, input_ids=None, **rest):
            output = super().forward(input_ids=input_ids, **rest)
            odd = (torch.arange(input_ids.shape[1]) % 2)[None, :, None]
            following = torch.cat([input_ids[:, 1:], input_ids[:, :1]], 1)[..., None]
            output.logits = output.logits + 0.01 * odd * following
            return output

    model = llama()
    model.__class__ = Peeking
    with pytest.raises(RankOneError, match="Peeking sees later tokens"):
        require_causal(model)


def of_kind(kind, model):
    model.__class__ = kind
    return model


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [4e-4, 5e-5])
def test_a_look_ahead_below_the_steps_of_a_half_precision_is_seen(dtype, size):
    """A step of bfloat16 is 4e-3 of a value. What a logit loses to rounding, its derivative keeps."""

    class Glancing(LlamaForCausalLM):
        def forward(self, input_ids=None, **rest):
            embedded = self.get_input_embeddings()(input_ids)
            following = torch.cat([embedded[:, 1:], embedded[:, -1:]], 1)
            return super().forward(inputs_embeds=embedded + size * following, **rest)

    with pytest.raises(RankOneError, match="Glancing sees later tokens"):
        require_causal(of_kind(Glancing, llama().to(dtype)))


def test_a_look_ahead_by_ids_is_seen_in_a_half_precision():
    """Of a token's number, which has no derivative; a four-thousandth of the largest logit."""

    class Numbering(LlamaForCausalLM):
        def forward(self, input_ids=None, **rest):
            output = super().forward(input_ids=input_ids, **rest)
            following = (
                torch.cat([input_ids[:, 1:], input_ids[:, -1:]], 1)[..., None] / self.config.vocab_size
            )
            output.logits = output.logits + 2.5e-4 * output.logits.abs().max() * following
            return output

    with pytest.raises(RankOneError, match="Numbering sees later tokens"):
        require_causal(of_kind(Numbering, llama().bfloat16()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("build", [simple_mlp, gpt2, llama, mixtral])
def test_causal_models_pass_in_a_half_precision(build, dtype):
    model = build().to(dtype)
    require_causal(model)
    assert all(p.grad is None for p in model.parameters())


def test_what_a_configuration_makes_of_a_forward_is_one_line():
    class Overflowing(LlamaForCausalLM):
        def forward(self, input_ids=None, **rest):
            raise OverflowError("int too big to convert")

    model = llama()
    model.__class__ = Overflowing
    with pytest.raises(
        RankOneError, match="Overflowing cannot be run on token ids alone: int too big to conv"
    ):
        require_causal(model)


def test_a_model_that_a_short_row_turns_into_another_is_refused(tmp_path):
    """BigBird's sparse attention sees later tokens, and eight tokens set it to its full one for good."""
    more = {
        "is_decoder": True,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "max_position_embeddings": 256,
    }
    sparse = {"attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1}
    torch.manual_seed(0)
    BigBirdForCausalLM(BigBirdConfig(**{**SMALL, **more, **sparse})).save_pretrained(tmp_path / "sparse")
    with pytest.raises(RankOneError, match="sets its attention_type from 'block_sparse' to 'original_full'"):
        load_model(tmp_path / "sparse")
    full = BigBirdConfig(**{**SMALL, **more, "attention_type": "original_full"})
    BigBirdForCausalLM(full).save_pretrained(tmp_path / "full")
    load_model(tmp_path / "full")


@pytest.mark.parametrize("how", ["configuration", "weight"])
def test_a_model_whose_logits_are_no_numbers_is_refused(how, tmp_path):
    """All its weights may be finite: comparisons with NaN are false, so nothing later would say it."""
    model = llama()
    if how == "weight":
        with torch.no_grad():
            model.model.norm.weight.fill_(1e38)
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    if how == "configuration":
        path.write_text(
            json.dumps(json.loads(path.read_text("utf8")) | {"rms_norm_eps": float("nan")}), "utf8"
        )
    with pytest.raises(
        RankOneError, match=r"the logits of LlamaForCausalLM are not finite \(.* Restore the model"
    ):
        load_model(tmp_path)
