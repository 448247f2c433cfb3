"""The built-in architecture in one that every tool has: Arcee, which is Llama with a plain MLP of any activation.

Nothing is approximated: each matrix goes to the place of the same use. So plain transformers load it without code of the
checkpoint. Its logits are the same but for the rounding of RoPE's angles in fp32 (1.3e-5 of logits of size 3: Arcee keeps
1 / theta^x, ours computes theta^-x). vLLM's own Arcee takes relu² alone and refuses it; its transformers backend reads it.
"""

from __future__ import annotations

from transformers import ArceeConfig, ArceeForCausalLM, PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.models.simple_mlp import SimpleMLPForCausalLM

# Ours → Arcee's, in the order in which they are replaced.
_NAMES = (
    ("wte.", "model.embed_tokens."),
    ("ln_f.", "model.norm."),
    ("h.", "model.layers."),
    (".rms_1.", ".input_layernorm."),
    (".rms_2.", ".post_attention_layernorm."),
    (".attn.", ".self_attn."),
    (".mlp.c_fc.", ".mlp.up_proj."),
)


def stock_name(name: str) -> str:
    """The name that a parameter of the built-in architecture has in the stock one."""
    for ours, theirs in _NAMES:
        name = theirs + name.removeprefix(ours) if name.startswith(ours) else name
        name = name.replace(ours, theirs) if ours.startswith(".") else name
    return name


def to_stock(model: PreTrainedModel) -> ArceeForCausalLM:
    """The same model as an `ArceeForCausalLM`, in its own memory; RankOneError for another architecture."""
    if not isinstance(model, SimpleMLPForCausalLM):
        raise RankOneError(
            f"{type(model).__name__} is a stock architecture: export a checkpoint. Only the built-in one needs another."
        )
    ours = model.config
    config = ArceeConfig(
        vocab_size=ours.vocab_size,
        hidden_size=ours.hidden_size,
        intermediate_size=ours.intermediate_size,
        num_hidden_layers=ours.num_hidden_layers,
        num_attention_heads=ours.num_attention_heads,
        hidden_act="gelu_pytorch_tanh",
        max_position_embeddings=ours.max_position_embeddings,
        rms_norm_eps=ours.rms_norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": ours.rope_theta},
        tie_word_embeddings=ours.tie_word_embeddings,
        bos_token_id=ours.bos_token_id,
        eos_token_id=ours.eos_token_id,
        pad_token_id=ours.pad_token_id,
        initializer_range=ours.initializer_range,
    )
    stock = ArceeForCausalLM(config)
    stock.to(dtype=model.dtype, device=model.device)  # pyright: ignore[reportCallIssue, reportArgumentType]
    stock.load_state_dict({stock_name(name): value for name, value in model.state_dict().items()})
    stock.generation_config = model.generation_config
    return stock.eval()
