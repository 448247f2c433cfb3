"""A tiny random model of every architecture family, built from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tests.helpers import VOCAB, gpt2, simple_mlp
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    OlmoConfig,
    OlmoeConfig,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedModel,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
)

LAYERS = 3
_SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 24,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
_GROUPED: dict[str, Any] = {"num_key_value_heads": 2}
_EXPERTS: dict[str, Any] = {**_GROUPED, "num_experts": 4, "num_experts_per_tok": 2}

Shape = tuple[int, int]


def _llama_like(queries: int = 24, keys: int = 12) -> dict[str, Shape]:
    return {
        "model.layers.{i}.self_attn.q_proj": (queries, 24),
        "model.layers.{i}.self_attn.k_proj": (keys, 24),
        "model.layers.{i}.self_attn.v_proj": (keys, 24),
        "model.layers.{i}.self_attn.o_proj": (24, queries),
        "model.layers.{i}.mlp.gate_proj": (40, 24),
        "model.layers.{i}.mlp.up_proj": (40, 24),
        "model.layers.{i}.mlp.down_proj": (24, 40),
    }


def _attention_only() -> dict[str, Shape]:
    return {name: shape for name, shape in _llama_like().items() if ".self_attn." in name}


def _build(config: Any, seed: int = 0) -> PreTrainedModel:
    """A model of the config, biases and norms random too, so that one left out would be seen."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.2)
    return model


def _family(
    config: Callable[..., Any], expected: dict[str, Shape], **more: Any
) -> tuple[Any, dict[str, Shape]]:
    return (lambda: _build(config(**{**_SIZES, **more}))), expected


_NEOX: dict[str, Shape] = {
    "gpt_neox.layers.{i}.attention.query_key_value": (72, 24),
    "gpt_neox.layers.{i}.attention.dense": (24, 24),
    "gpt_neox.layers.{i}.mlp.dense_h_to_4h": (40, 24),
    "gpt_neox.layers.{i}.mlp.dense_4h_to_h": (24, 40),
}
_GPT2: dict[str, Shape] = {
    "transformer.h.{i}.attn.c_attn": (72, 24),
    "transformer.h.{i}.attn.c_proj": (24, 24),
    "transformer.h.{i}.mlp.c_fc": (96, 24),
    "transformer.h.{i}.mlp.c_proj": (24, 96),
}
_SIMPLE: dict[str, Shape] = {
    **{f"h.{{i}}.attn.{p}_proj": (24, 24) for p in "koqv"},
    "h.{i}.mlp.c_fc": (40, 24),
    "h.{i}.mlp.down_proj": (24, 40),
}
_PHI: dict[str, Shape] = {
    **{f"model.layers.{{i}}.self_attn.{p}_proj": (24, 24) for p in "qkv"},
    "model.layers.{i}.self_attn.dense": (24, 24),
    "model.layers.{i}.mlp.fc1": (40, 24),
    "model.layers.{i}.mlp.fc2": (24, 40),
}
_PHI3: dict[str, Shape] = {
    "model.layers.{i}.self_attn.qkv_proj": (48, 24),
    "model.layers.{i}.self_attn.o_proj": (24, 24),
    "model.layers.{i}.mlp.gate_up_proj": (80, 24),
    "model.layers.{i}.mlp.down_proj": (24, 40),
}
_OPT: dict[str, Shape] = {
    **{f"model.decoder.layers.{{i}}.self_attn.{p}_proj": (24, 24) for p in ("q", "k", "v", "out")},
    "model.decoder.layers.{i}.fc1": (40, 24),
    "model.decoder.layers.{i}.fc2": (24, 40),
}
_SHARED_EXPERT: dict[str, Shape] = {
    **_attention_only(),
    "model.layers.{i}.mlp.shared_expert.gate_proj": (40, 24),
    "model.layers.{i}.mlp.shared_expert.up_proj": (40, 24),
    "model.layers.{i}.mlp.shared_expert.down_proj": (24, 40),
    "model.layers.{i}.mlp.shared_expert_gate": (1, 24),
}

# Family → (builder of a model of LAYERS blocks, its sites per block with [d_out, d_in]).
FAMILIES: dict[str, tuple[Callable[[], PreTrainedModel], dict[str, Shape]]] = {
    "simple_mlp": (lambda: simple_mlp(num_hidden_layers=LAYERS), _SIMPLE),
    "gpt2": (lambda: gpt2(layers=LAYERS), _GPT2),
    "gpt_neox": _family(GPTNeoXConfig, _NEOX),
    "llama": _family(LlamaConfig, _llama_like(), attention_bias=True, **_GROUPED),
    "mistral": _family(MistralConfig, _llama_like(), sliding_window=5, **_GROUPED),
    "qwen3": _family(Qwen3Config, _llama_like(32, 16), head_dim=8, tie_word_embeddings=True, **_GROUPED),
    "gemma2": _family(Gemma2Config, _llama_like(32, 16), head_dim=8, sliding_window=5, **_GROUPED),
    "gemma3": _family(Gemma3TextConfig, _llama_like(32, 16), head_dim=8, sliding_window=5, **_GROUPED),
    "olmo": _family(OlmoConfig, _llama_like(), **_GROUPED),
    "olmo2": _family(Olmo2Config, _llama_like(), **_GROUPED),
    "phi": _family(PhiConfig, _PHI, num_attention_heads=3),
    "phi3": _family(Phi3Config, _PHI3, **_GROUPED),
    "opt": _family(OPTConfig, _OPT, ffn_dim=40, word_embed_proj_dim=24, dropout=0.0),
    "mixtral": _family(MixtralConfig, _attention_only(), num_local_experts=4, **_GROUPED),
    "qwen3_moe": _family(
        Qwen3MoeConfig,
        {**_attention_only()},
        head_dim=6,
        moe_intermediate_size=16,
        **_EXPERTS,
    ),
    "qwen2_moe": _family(
        Qwen2MoeConfig,
        _SHARED_EXPERT,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=40,
        **_EXPERTS,
    ),
    "olmoe": _family(OlmoeConfig, _attention_only(), **_EXPERTS),
}


def sites_of(family: str) -> dict[str, Shape]:
    """Expected site → [d_out, d_in] over all blocks."""
    return {name.format(i=i): shape for i in range(LAYERS) for name, shape in FAMILIES[family][1].items()}
