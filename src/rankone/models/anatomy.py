"""All that RankOne knows of architectures by name; a new architecture touches this file alone.

A site is known by the last part of its module path (its leaf) and by the module above it. A name that is not listed here
counts as unknown, so that nothing is claimed about it. A configuration is asked for the first of several keys it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankone.core.errors import RankOneError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig

# What adds to the residual stream: attention outputs (Llama, GPT-2, OPT and GPT-J, NeoX and Falcon and BLOOM, MPT) and MLP
# outputs; some names stand for both.
_ATTENTION_OUTPUTS = {"o_proj", "out_proj", "wo"}
_MLP_OUTPUTS = {"down_proj", "dense_4h_to_h", "fc2", "fc_out", "w2"}
_EITHER_OUTPUT = {"c_proj", "dense"}
# What meets only in the attention scores, so that no other site reads it.
_SCORES = {"q_proj", "k_proj", "query", "key"}
_VALUES = {"v_proj", "value", "v"}

QUERY_KEY_VALUE = "query, key and value in one"
GATE_UP = "gate and up in one"
_FUSED = {
    "c_attn": QUERY_KEY_VALUE,  # GPT-2
    "query_key_value": QUERY_KEY_VALUE,  # GPT-NeoX, Pythia, Falcon, BLOOM
    "qkv_proj": QUERY_KEY_VALUE,  # Phi-3
    "Wqkv": QUERY_KEY_VALUE,  # MPT, DBRX
    "gate_up_proj": GATE_UP,  # Phi-3, GLM
}

# Kinds of nn.Linear with a forward of their own that is y = W x + b nevertheless.
_PLAIN_LINEAR = {"FalconLinear"}

_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length")
# Kinds whose weights are stored under the paths of their modules, some without the name of the base model, given here,
# before them; a checkpoint of others may be renamed as it is read.
_BASES = {"rankone_simple_mlp": "", "gpt2": "transformer", "gpt_neox": "gpt_neox"} | dict.fromkeys(
    ("arcee", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3"), "model"
)
# Settings that change what comes out of the unembedding.
_AFTER_UNEMBEDDING = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


def leaf_of(site: str) -> str:
    """The last part of a module path."""
    return site.rpartition(".")[2]


def module_of(site: str) -> str:
    """The path of the module that a site lies in."""
    return site.rpartition(".")[0]


def layer_number(site: str) -> int:
    """Number of the block a site lies in: the first number in the path above it; −1 where there is none."""
    return next((int(part) for part in module_of(site).split(".") if part.isdecimal()), -1)


def in_order(path: str) -> list[tuple[int, int, str]]:
    """A key that sorts module paths with numbers compared as numbers (`h.2` before `h.10`)."""
    return [(0, int(word), "") if word.isdigit() else (1, 0, word) for word in path.split(".")]


def base_of(model_type: str) -> str | None:
    """Module that the blocks of a kind of model lie in, where its weights are stored under the paths of their modules."""
    return _BASES.get(model_type)


def in_attention(site: str) -> bool:
    """Whether a site belongs to attention; all others belong to an MLP."""
    parent = leaf_of(module_of(site)).lower()
    return leaf_of(site) in _ATTENTION_OUTPUTS or "attn" in parent or "attention" in parent


def is_output(site: str) -> bool:
    """Whether a site is the last map of attention or MLP, which adds to the residual stream."""
    return leaf_of(site) in _ATTENTION_OUTPUTS | _MLP_OUTPUTS | _EITHER_OUTPUT


def is_attention_output(site: str) -> bool:
    """Whether a site's name may be that of an attention output; some names are those of MLP outputs too."""
    return leaf_of(site) in _ATTENTION_OUTPUTS | _EITHER_OUTPUT


def acts_on_scores(site: str) -> bool:
    """Whether a site gives queries or keys alone."""
    return leaf_of(site) in _SCORES


def is_value(site: str) -> bool:
    """Whether a site gives attention values alone."""
    return leaf_of(site) in _VALUES


def reads_hidden(site: str, d_out: int, d_in: int) -> bool:
    """Whether a site reads what lies inside its block (MLP activations, head channels), and writes the residual stream.

    Told by its name; of an MLP site with an unknown name by its shape, which is narrower where it writes.
    """
    return is_output(site) or (not in_attention(site) and d_out < d_in)


def writes_residual(site: str, d_out: int, width: int) -> bool:
    """Whether a site adds its output to the residual stream of `width` dimensions."""
    return d_out == width and is_output(site)


def reads_residual(site: str, d_in: int, width: int) -> bool:
    """Whether a site reads the (normalised) residual stream."""
    return d_in == width and not is_output(site)


def feeds(writer: str, reader: str, shapes: dict[str, tuple[int, int]], width: int) -> bool:
    """Whether what `writer` writes can be read by `reader` directly.

    shapes: (d_in, d_out) per site. Through the residual stream: sites of later layers, and those of the MLP after the
    attention of the same layer (where a model runs both side by side, that pair is listed too). Inside a block: values and
    MLP activations, read by the output of the same module.
    """
    (_, d_out), (d_in, _) = shapes[writer], shapes[reader]
    if d_out != d_in or writer == reader:
        return False
    if writes_residual(writer, d_out, width):
        later = layer_number(writer) < layer_number(reader)
        after = (
            layer_number(writer) == layer_number(reader) and in_attention(writer) and not in_attention(reader)
        )
        return (later or after) and reads_residual(reader, d_in, width)
    inside = module_of(writer) == module_of(reader) and not acts_on_scores(writer)
    return inside and writes_residual(reader, shapes[reader][1], width)


def fused_note(site: str) -> str:
    """Which maps share a site's matrix; empty for one map.

    A fused matrix is decomposed as one site: a subcomponent of it may write to query, key and value at once.
    """
    return _FUSED.get(leaf_of(site), "")


def is_plain_linear(module: nn.Module) -> bool:
    """Whether a kind of nn.Linear whose forward is its own is known to be plain."""
    return type(module).__name__ in _PLAIN_LINEAR


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a layer norm of some kind."""
    return "norm" in type(module).__name__.lower()


def holds_experts(module: nn.Module) -> bool:
    """Whether a module is the experts of a mixture."""
    return "expert" in type(module).__name__.lower()


def stated_context(config: PretrainedConfig) -> int | None:
    """Longest sequence by a text configuration; None where it states none (no position limit). RankOneError for words."""
    for key in _CONTEXT_KEYS:
        value = getattr(config, key, None)
        if value is not None and not isinstance(value, int | float):
            raise RankOneError(
                f"the model's configuration has {key} {value!r}, which is not a number. Mend its config.json."
            )
        if value and value > 0:
            return int(value)
    return None


def value_heads(config: PretrainedConfig) -> int | None:
    """Number of key and value heads by a text configuration; None where every query head has its own."""
    return getattr(config, "num_key_value_heads", None)


def bends_logits(config: PretrainedConfig) -> bool:
    """Whether a text configuration scales or caps what the unembedding gives."""
    return any(getattr(config, name, None) not in (None, 1) for name in _AFTER_UNEMBEDDING)
