"""A tiny random model of every causal class that transformers builds from a configuration.

The configuration of a model type is its own default, shrunk by the names of its settings: width 32, two layers, four heads,
two for keys and values, vocabulary 128, four experts. What no rule of names can know stands in MORE.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCAB = 128
# What sees later tokens unless its configuration says that it is a decoder; tried as one too, as `TYPE+decoder`.
ENCODERS = (
    "bert",
    "big_bird",
    "camembert",
    "data2vec-text",
    "electra",
    "ernie",
    "megatron-bert",
    "rembert",
    "roberta",
    "roberta-prelayernorm",
    "roc_bert",
    "roformer",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)
# Model type → class.
CLASSES: dict[str, str] = {
    **MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    **{f"{name}+decoder": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[name] for name in ENCODERS},
}

# The first pattern that fits the whole name of a setting gives its value.
_RULES: tuple[tuple[str, Any], ...] = (
    (r"vocab_size(_per_layer_input)?|unpadded_vocab_size", VOCAB),
    (
        r"num_(key_value|kv|attention_kv)_heads|num_global_key_value_heads|n_head_kv|(encoder|decoder)_num_key_value_heads",
        2,
    ),
    (r"(num_(hidden_)?layers|n_layers?|(encoder|decoder)_layers|num_(encoder|decoder)_layers|num_blocks)", 2),
    (
        r"(num_(attention_|encoder_attention_|decoder_attention_|query_)?heads|n_heads?|(encoder|decoder)_(attention_)?heads|num_local_heads)",
        4,
    ),
    (
        r"(global_)?head_dim|attention_head_dim|v_head_dim|qk_rope_head_dim|qk_nope_head_dim|swa_head_dim|kv_channels",
        8,
    ),
    (
        r"hidden_size(_global)?|n_embd|d_model|dim|embed_dim|word_embed_proj_dim|embedding_size|emb_dim|input_embedding_size|lru_width",
        32,
    ),
    (
        r".*(intermediate_size|ffn_dim|ffn_hidden_size|d_ff|n_inner|feed_forward_size|d_inner|dim_ff|intermediate_size_mlp)",
        48,
    ),
    (r"q_lora_rank|kv_lora_rank", 16),
    (r"(num|n)_(local_|routed_|moe_)?experts|moe_num_experts|num_routed_experts", 4),
    (
        r"(num_)?experts_per_tok(en)?|num_experts_per_tok|num_selected_experts|moe_(top_?k|k)|moe_topk|top_k_experts|num_experts_per_token",
        2,
    ),
    (r"n_group|topk_group|num_expert_group", 1),
    # One dense layer before those of experts.
    (r"first_k_dense_replace|moe_layer_start_index|num_dense_layers", 1),
    (r"max_position_embeddings|n_positions|max_seq_len|max_target_positions|max_sequence_length|n_ctx", 64),
    (r"(sliding|attention|local_attention)_window(_size)?", 5),
    (r"initializer_range|init_std|initializer_factor", 0.2),
    (r".*(dropout|drop|_pdrop|dropout_prob|layerdrop|jitter_noise)", 0.0),
    (r"(mamba_|ssm_)?(d_)?state_size|mamba_d_state|ssm_state_size", 8),
    (r"time_step_rank|mamba_dt_rank", 4),
)
_IDS = re.compile(r".*_token_id|.*_token_index|.*_token_ids?")
_AS_MANY_KEYS = {"num_key_value_heads": 4}
# Attention with latent keys and values has as many of their heads as of queries.
_LATENT = (
    "axk1",
    "axk2",
    "deepseek_v3",
    "deepseek_v32",
    "glm4_moe_lite",
    "glm_moe_dsa",
    "longcat_flash",
    "minicpm3",
    "youtu",
)
# Settings that the names do not settle, by model type.
MORE: dict[str, dict[str, Any]] = {
    **{name: _AS_MANY_KEYS for name in _LATENT},
    **{name: {"head_dim": 8} for name in ("hunyuan_v1_dense", "hunyuan_v1_moe", "ministral")},
    "bamba": {"mamba_n_heads": 4, "mamba_d_head": 16},
    "codegen": {"rotary_dim": 4},
    "gptj": {"rotary_dim": 4},
    "blt": {"encoder_hash_byte_group_vocab": 50},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10000.0}
            for kind in ("sliding_attention", "full_attention")
        },
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "dots1": {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
    },
    "deepseek_v2": {**_AS_MANY_KEYS, "num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "dots3_note": {"text_config": {**_AS_MANY_KEYS, "per_layer_config": {}}},
    "dots3_note_text": {**_AS_MANY_KEYS, "per_layer_config": {}},
    "gemma3n_text": {
        "num_kv_shared_layers": 0,
        "intermediate_size": 48,
        "activation_sparsity_pattern": [0.0, 0.0],
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"mamba_n_heads": 4, "mamba_d_head": 16},
    "kimi_linear": {"num_experts": 4},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 2},
    "mpt": {"attn_config": {"attn_pdrop": 0}},
    "nemotron": {"num_key_value_heads": 2},
    "reformer": {
        "is_decoder": True,
        "axial_pos_embds_dim": [16, 16],
        "axial_pos_shape": [8, 8],
        "attn_layers": ["local", "lsh"],
    },
    "roc_bert": {"pronunciation_vocab_size": 16, "shape_vocab_size": 16},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 3,
        "layers_block_type": ["mamba", "hybrid", "hybrid"],
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "zamba2": {"layers_block_type": ["mamba", "hybrid"]},
    "zaya": {"num_experts_per_tok": 1},
}


def config_of(model_type: str) -> PretrainedConfig:
    """The tiny configuration of a model type; whatever its class raises goes through."""
    name, _, decoder = model_type.partition("+")
    more = {**MORE.get(name, {}), **({"is_decoder": True} if decoder else {})}
    return _tiny(CONFIG_MAPPING[name], more)


def build(model_type: str, seed: int = 0) -> PreTrainedModel:
    """A tiny model in eval mode, fp32; biases and norms are random too, so that one left out would be seen."""
    torch.manual_seed(seed)
    config = config_of(model_type)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.2)
    return model


def _tiny(cls: type[PretrainedConfig], more: dict[str, Any]) -> PretrainedConfig:
    default = cls()
    values: dict[str, Any] = {}
    for key, value in default.to_dict().items():
        found = vars(default).get(key, value)
        if isinstance(found, PretrainedConfig):
            values[key] = _tiny(type(found), more.get(key, {}))
        elif (small := _small(key, value)) is not None:
            values[key] = small
    values |= {k: v for k, v in more.items() if not isinstance(vars(default).get(k), PretrainedConfig)}
    return cls(**values)


def _small(key: str, value: Any) -> Any:
    if _IDS.fullmatch(key) and value is not None:
        return [0] if isinstance(value, list) else 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return next((small for pattern, small in _RULES if re.fullmatch(pattern, key)), None)
