"""What a site reads and writes: the residual stream, or a space inside its block.

Told by names (anatomy.py). A name that is not known counts as one that does not write to the residual stream: nothing is
claimed about it.
"""

from __future__ import annotations

from rankone.models.anatomy import acts_on_scores, in_attention, is_output, layer_number, module_of


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
