"""How far the nodes of a graph stay the same: under other seeds of its fit, and on a paraphrase."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.circuits.build import make_graph
from rankone.circuits.config import GraphConfig
from rankone.circuits.graph import Graph
from rankone.circuits.records import StabilityRow
from rankone.parts.parts import Parts


def stability(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    parts: Parts,
    graph: Graph,
    config: GraphConfig,
    seeds: int = 0,
    paraphrase: str | None = None,
) -> tuple[StabilityRow, ...]:
    """The graph's nodes beside those of fits with the next seeds, and of a paraphrase (there without positions)."""
    rows = []
    plain = config.model_copy(update={"random_graphs": 0})
    for seed in range(config.seed + 1, config.seed + 1 + seeds):
        seeded = plain.model_copy(update={"seed": seed})
        again = make_graph(model, tokenizer, parts, graph.record.prompt, seeded, graph.record)
        rows.append(compared(f"seed {seed}", _places(graph), _places(again.graph)))
    if paraphrase is not None:
        other = make_graph(model, tokenizer, parts, paraphrase, plain, graph.record)
        rows.append(compared(f"“{paraphrase}”", _parts(graph), _parts(other.graph)))
    return tuple(rows)


def compared(what: str, one: Iterable[Hashable], other: Iterable[Hashable]) -> StabilityRow:
    """Nodes of the other, those in both, and their share of those in either."""
    first, second = set(one), set(other)
    both = len(first & second)
    return StabilityRow(what=what, nodes=len(second), shared=both, jaccard=both / max(len(first | second), 1))


def _places(graph: Graph) -> list[tuple[str, int]]:
    return [(graph.part(i), graph.nodes[i].position) for i in graph.chosen]


def _parts(graph: Graph) -> list[str]:
    return [graph.part(i) for i in graph.chosen]
