"""Where a node stands in a drawing: four rows a block, and a number of its own for every part of a row.

Row 4 b + {0: what attention reads, 1: its output, 2: what the MLP reads, 3: its output}. A part's index in its row is its
number, after a stretch of 2²⁰ for every site before its own, so that a part has one number in all graphs of its parts.
"""

from __future__ import annotations

from rankone.circuits.graph import Graph
from rankone.models.anatomy import in_attention, is_output, layer_number

STRETCH = 1 << 20


class Rows:
    """Rows and indices of a graph's sites."""

    def __init__(self, graph: Graph) -> None:
        self._rank: dict[str, int] = {}
        taken: dict[int, int] = {}
        places = {n.place for n in graph.nodes if n.kind not in ("output", "embedding", "position")}
        for site in sorted({*graph.record.weights, *places}):
            row = row_of(site)
            self._rank[site] = taken.get(row, 0)
            taken[row] = self._rank[site] + 1
        self.count = max(taken, default=0) + 1

    def index(self, site: str, number: int) -> int:
        """A part's number in its row."""
        return self._rank[site] * STRETCH + number


def row_of(site: str) -> int:
    """Row of a site; of what lies outside of all blocks 0."""
    block = layer_number(site)
    return 0 if block < 0 else 4 * block + 2 * (not in_attention(site)) + is_output(site)


def cantor(x: int, y: int) -> int:
    """One number for a pair: circuit-tracer's `feature`."""
    return (x + y) * (x + y + 1) // 2 + y
