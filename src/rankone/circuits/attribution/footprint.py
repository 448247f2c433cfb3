"""The memory that a graph takes, told before it is made: cuts of the prompt, gradients at the leaves, and edges."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.circuits.attribution.cut import Cut, cut
from rankone.circuits.attribution.edges import probe, rows_at_once
from rankone.circuits.attribution.nodes import Nodes
from rankone.core.errors import RankOneError
from rankone.runtime.memory import available_bytes, peak_bytes
from rankone.runtime.progress import log

# Both rules' cuts are held at once, and while edges are checked against changed forwards one of those.
CUTS = 3
# Lengths that the size of a cut is told from.
SHORT = (8, 16)
# Bytes of an edge: two nodes and a weight, as they are gathered, joined, put in order, and the order.
PER_EDGE = 24 * 3 + 16
MIB = 2**20


def cut_bytes(model: PreTrainedModel, ids: Int[Tensor, " t"]) -> int:
    """What a cut of a prompt holds: exactly for one of at most 16 tokens, else as a first ones of it say that it grows,
    by its length and (attention) the square of that."""
    if len(ids) <= SHORT[1]:
        return measured_cut(model, ids)[1]
    (a, b), length = SHORT, len(ids)
    each_a, each_b = (measured_cut(model, ids[:count])[1] / count for count in SHORT)
    square = max(0.0, (each_b - each_a) / (b - a))
    return round(length * (each_a + square * (length - a)))


def measured_cut(model: PreTrainedModel, ids: Int[Tensor, " t"]) -> tuple[Cut, int]:
    """A cut by the frozen rule, and the bytes of all that it keeps, but for the model's own weights."""
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        made = cut(model, ids, "frozen")
    queries_and_keys = [tensor for pair in made.attended for tensor in pair]
    for tensor in (*made.leaves.values(), *made.inputs.values(), made.logits, *made.tape, *queries_and_keys):
        note(tensor)
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    held = sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights)
    kept.clear()  # the cut's graph keeps `note`, and so what it kept
    return made, held


def edge_bound(cut: Cut, nodes: Nodes, outputs: int) -> int:
    """Edges there can be at most: of each node that reads, all nodes of what its site reads, up to its position."""
    at = {name: _at_positions(cut, nodes, name) for name in cut.leaves}
    bound = outputs * sum(float(here[-1]) for here in at.values())
    for site, target in nodes.targets.items():
        reading = probe(cut, site)
        readers = (target.node >= 0).sum(1).double().cpu()
        sources = sum((at[name] for name in reading.leaves), torch.zeros(cut.length, dtype=torch.float64))
        bound += float((readers * (sources.cumsum(0) if reading.mixes else sources)).sum())
    return round(bound)


def _at_positions(cut: Cut, nodes: Nodes, leaf: str) -> Float[Tensor, " t"]:
    source = nodes.sources[leaf]
    count = source.place.cpu().bincount(minlength=cut.length).double()
    return count + len(source.rests)


def gradient_bytes(cut: Cut) -> int:
    """Gradients of one backward call at all leaves, in passage and as they are added up."""
    leaves = sum(leaf.numel() * leaf.element_size() for leaf in cut.leaves.values())
    return 3 * rows_at_once(cut) * leaves


def memory_advice(said: str) -> RankOneError:
    """What to lower where memory does not suffice (`memory_as`)."""
    return RankOneError(
        f"memory does not suffice for this graph ({said}). Shorten the prompt, raise --threshold, take --nodes optimised, "
        "or --precision float32."
    )


def log_memory(what: str, needed: float, device: torch.device) -> None:
    """Say what is needed beside what the process holds already, and warn where that much is not free."""
    held, free = peak_bytes(), available_bytes(device)
    whole = "" if held is None or device.type != "cpu" else f", {(held + needed) / MIB:,.0f} MB in all"
    log.info(f"{what}: at most about {needed / MIB:,.0f} MB{whole}")
    if free is not None and needed > free:
        log.warning(
            f"That is more than the {free / MIB:,.0f} MB that are free: shorten the prompt, give --precision float32, or "
            "fewer nodes."
        )
