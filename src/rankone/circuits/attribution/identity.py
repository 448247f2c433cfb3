"""The sum identity: by the frozen rule what flows into a node is its value. Else an operation is not known."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from rankone.circuits.attribution.cut import Cut
from rankone.circuits.attribution.edges import Edges
from rankone.circuits.attribution.nodes import Node, Nodes
from rankone.core.config import Record
from rankone.core.errors import RankOneError

# Of the sum of absolute inputs; and of ‖x‖ ‖v‖ in units of the precision, the rounding of the target's own dot product.
TOLERANCE, ROUNDING = 1e-5, 8.0


class IdentityRecord(Record):
    """How well Σ in = value holds. worst: largest |Σ in − value| / Σ |in|, over all targets and those whose value is not
    within rounding of its own dot product; failing: targets beyond both."""

    targets: int
    worst: float
    worst_beyond_rounding: float
    over_tolerance: int
    failing: int
    worst_node: int

    @property
    def holds(self) -> bool:
        """Whether no target fails."""
        return self.failing == 0


def sum_identity(cut: Cut, nodes: Nodes, table: Sequence[Node], edges: Edges) -> IdentityRecord:
    """Compare what flows into every chosen subcomponent and output with its value. table: of all nodes."""
    is_target = torch.tensor([n.kind in ("subcomponent", "output") for n in table])
    value = torch.tensor([n.value for n in table], dtype=torch.float64)
    off = (edges.total - value).abs() * is_target
    relative = off / edges.absolute.clamp_min(1e-30) * is_target
    rounding = _rounding(cut, nodes, len(table))
    beyond = relative * (off > rounding)
    return IdentityRecord(
        targets=int(is_target.sum()),
        worst=float(relative.max()),
        worst_beyond_rounding=float(beyond.max()),
        over_tolerance=int((relative > TOLERANCE).sum()),
        failing=int((beyond > TOLERANCE).sum()),
        worst_node=int(beyond.argmax()),
    )


def require_known_operations(record: IdentityRecord, cut: Cut, table: Sequence[Node]) -> None:
    """RankOneError, naming the operation, where the identity does not hold."""
    if record.holds:
        return
    node = table[record.worst_node]
    where = node.place if node.kind == "subcomponent" else "the logits"
    read = cut.inputs[node.place] if node.kind == "subcomponent" else cut.logits
    suspects = [f"'{name}'" for name in (*_functions_behind(read), *cut.noted) or cut.held]
    what = (
        f"the operation {' or '.join(suspects[:3])}"
        if suspects
        else "an operation that PyTorch does not show (a kernel of its own)"
    )
    raise RankOneError(
        f"no graph can be made of this model: what flows into {where} does not add up to what it reads (off by "
        f"{record.worst_beyond_rounding:.1e} of it at {record.failing} of {record.targets} nodes). The forward uses {what} "
        "in a way that no rule is known for."
    )


def _functions_behind(read: Tensor) -> list[str]:
    """Functions with a backward of their own (torch.autograd.Function) between what is read and the leaves, nearest first:
    PyTorch does not ask for these as it does for operations."""
    names: dict[str, None] = {}
    ahead, seen = [read.grad_fn], {read.grad_fn}
    for node in ahead:
        if isinstance(node, BackwardCFunction):
            names[type(node).__name__.removesuffix("Backward")] = None
        for before, _ in () if node is None else node.next_functions:
            if before is not None and before not in seen:
                seen.add(before)
                ahead.append(before)
    return list(names)


def _rounding(cut: Cut, nodes: Nodes, count: int) -> Float[Tensor, " nodes"]:
    """How far rounding alone may put a node's value off: of its dot product of x and v, and of the sum over x."""
    bound = torch.zeros(count, dtype=torch.float64)
    for site, target in nodes.targets.items():
        x = cut.read(site)
        size = x.norm(dim=1, keepdim=True) * target.reads.norm(dim=0)
        kept = target.node >= 0
        bound[target.node[kept].cpu()] = (ROUNDING * _precision(x.dtype) * size[kept]).double().cpu()
    return bound


def _precision(dtype: torch.dtype) -> float:
    # Most norms compute in fp32 whatever the model's precision is.
    return torch.finfo(torch.float32 if dtype == torch.float64 else dtype).eps
