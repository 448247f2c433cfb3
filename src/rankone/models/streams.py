"""What a site reads and writes: the residual stream, or a space inside its block.

Told by the last part of the module path, as the architectures name their layers. A name that is not known here counts as
one that does not write to the residual stream, so that nothing is claimed about it.
"""

from __future__ import annotations

# Attention outputs (Llama, GPT-2, OPT and GPT-J, NeoX and Falcon and BLOOM, MPT) and MLP outputs.
_ATTENTION_OUTPUTS = {"o_proj", "out_proj", "wo"}
_MLP_OUTPUTS = {"down_proj", "dense_4h_to_h", "fc2", "fc_out", "w2"}
_EITHER = {"c_proj", "dense"}
# Their outputs meet only in the attention scores, so no other site reads them.
_SCORES_ONLY = {"q_proj", "k_proj", "query", "key"}


def _leaf(site: str) -> str:
    return site.rsplit(".", 1)[-1]


def _parent(site: str) -> str:
    return site.rpartition(".")[0]


def _layer(site: str) -> int:
    """Number of the block a site lies in; -1 where its path has none."""
    return next((int(part) for part in site.split(".") if part.isdecimal()), -1)


def in_attention(site: str) -> bool:
    """Whether a site belongs to attention; all others belong to an MLP."""
    parent = _parent(site).rsplit(".", 1)[-1].lower()
    return _leaf(site) in _ATTENTION_OUTPUTS or "attn" in parent or "attention" in parent


def reads_hidden(site: str, d_out: int, d_in: int) -> bool:
    """Whether a site reads what lies inside its block (MLP activations, head channels), and writes the residual stream.

    Told by its name; of an MLP site with an unknown name by its shape, which is narrower where it writes.
    """
    named = _leaf(site) in _ATTENTION_OUTPUTS | _MLP_OUTPUTS | _EITHER
    return named or (not in_attention(site) and d_out < d_in)


def writes_residual(site: str, d_out: int, width: int) -> bool:
    """Whether a site adds its output to the residual stream of `width` dimensions."""
    return d_out == width and _leaf(site) in _ATTENTION_OUTPUTS | _MLP_OUTPUTS | _EITHER


def reads_residual(site: str, d_in: int, width: int) -> bool:
    """Whether a site reads the (normalised) residual stream."""
    return d_in == width and _leaf(site) not in _ATTENTION_OUTPUTS | _MLP_OUTPUTS | _EITHER


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
        later = _layer(writer) < _layer(reader)
        after = _layer(writer) == _layer(reader) and in_attention(writer) and not in_attention(reader)
        return (later or after) and reads_residual(reader, d_in, width)
    inside = _parent(writer) == _parent(reader) and _leaf(writer) not in _SCORES_ONLY
    return inside and writes_residual(reader, shapes[reader][1], width)
