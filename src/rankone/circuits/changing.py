"""A change of nodes: what the graph predicts of it beside what happens, and what the model says with some nodes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.circuits.asking.places import Place
from rankone.circuits.asking.replies import Likely, Outcome
from rankone.circuits.choosing.masks import loss_of, masked_prompt, masked_rows
from rankone.circuits.config import BY_IMPORTANCE
from rankone.circuits.effects import direct_effects, total_effects
from rankone.circuits.graph import Graph
from rankone.circuits.intervene import Change, changed_logits
from rankone.circuits.records import RULES, MaskedRow, Rule
from rankone.core.errors import RankOneError
from rankone.decomposition.model import Decomposition
from rankone.parts.book import Named
from rankone.text.vocabulary import spelling

LIKELY = 6


def nodes_at(graph: Graph, place: Place) -> list[int]:
    """The graph's nodes at a place; RankOneError where it has none, with some that it has."""
    hits = [
        i
        for i in graph.chosen
        if graph.part(i) == place.part and place.position in (None, graph.nodes[i].position)
    ]
    if hits:
        return hits
    here = [str(graph.nodes[i].position) for i in graph.chosen if graph.part(i) == place.part]
    order = sorted(graph.chosen, key=lambda i: -float(graph.influence[i]))
    some = list(dict.fromkeys(f"{graph.part(i)}@{graph.nodes[i].position}" for i in order))[:3]
    raise RankOneError(
        f"the graph has '{place.part}' at {', '.join(here)}, not at {place.position}."
        if here
        else f"the graph has no node '{place}'. Its strongest are {', '.join(some)}."
    )


def changes_of(graph: Graph, factors: Mapping[str, float]) -> list[Change]:
    """Places and factors as changes of the model; those of PART@all hold at every position."""
    made = []
    for text, factor in factors.items():
        place = Place.of(text)
        if place.everywhere:
            made.append(Change(place.part, factor))
            continue
        at = tuple(graph.nodes[i].position for i in nodes_at(graph, place))
        made.append(Change(place.part, factor, at))
    _require_apart(made)
    return made


def _require_apart(changes: Sequence[Change]) -> None:
    seen: dict[str, set[int]] = {}
    for change in changes:
        taken = seen.setdefault(change.part, set())
        wide = change.positions is None
        if (wide and change.part in [c.part for c in changes if c is not change]) or taken & set(
            change.positions or ()
        ):
            raise RankOneError(f"'{change.part}' is changed twice at one position. Name each place once.")
        taken |= set(change.positions or ())


def outcomes(
    graph: Graph,
    model: PreTrainedModel,
    parts: Named,
    changes: Sequence[Change],
    ids: Int[Tensor, " t"],
) -> tuple[list[Outcome], Float[Tensor, " vocab"], Float[Tensor, " vocab"]]:
    """Each output before and after, beside the graph's word for it; logits at the last position before and after.

    The graph's word is linear: Σ (f − 1) of what the changed nodes add, each as if it were the only one.
    """
    before, after = (changed_logits(model, parts, ids, c)[-1].double().cpu() for c in ((), changes))
    said = {node: 0.0 for node in graph.chosen}
    for change in changes:
        for node in graph.chosen:
            here = change.positions is None or graph.nodes[node].position in change.positions
            if here and graph.part(node) == change.part:
                said[node] += change.factor - 1
    moved = torch.zeros(len(graph.nodes), dtype=torch.float64)
    moved[list(said)] = torch.tensor(list(said.values()), dtype=torch.float64)
    rows = []
    for node, aim in zip(graph.outputs, graph.aims, strict=True):
        seed = aim.seed(len(before))
        chances = [None if aim.token is None else float(x.softmax(-1)[aim.token]) for x in (before, after)]
        direct: dict[Rule, float] = {r: float(moved @ direct_effects(graph, r, node)) for r in RULES}
        total: dict[Rule, float] = {r: float(moved @ total_effects(graph, r, node)) for r in RULES}
        rows.append(
            Outcome(
                text=aim.text,
                before=float(before @ seed),
                predicted_direct=direct,
                predicted=total,
                happened=float((after - before) @ seed),
                probability=chances[0],
                probability_after=chances[1],
            )
        )
    return rows, before, after


def likely(
    before: Float[Tensor, " vocab"], after: Float[Tensor, " vocab"], tokenizer: PreTrainedTokenizerBase
) -> list[Likely]:
    """The likeliest tokens of either, by the larger of both."""
    chances = torch.stack([before.softmax(-1), after.softmax(-1)])
    best = chances.amax(0).topk(min(LIKELY, chances.shape[1])).indices.tolist()
    return [
        Likely(token=spelling(tokenizer, i), before=float(chances[0, i]), after=float(chances[1, i]))
        for i in best
    ]


def kept_rows(
    graph: Graph, model: PreTrainedModel, parts: Decomposition, nodes: Sequence[int], seed: int = 0
) -> list[MaskedRow]:
    """What the model says where only these nodes are let through, under every kind of mask.

    As the graph was measured: with their importances where those chose its nodes, else whole; the adversary against what
    they were fitted to.
    """
    ids = torch.tensor(graph.record.ids, device=model.device)
    by_importance = graph.record.node_set in BY_IMPORTANCE
    objective = "kl" if graph.record.optimised is None else graph.record.optimised.objective
    columns = {key: i for i, key in enumerate((s, int(n)) for s in parts.sites for n in parts.indices[s])}
    with masked_prompt(model, parts, ids) as prompt:
        g = torch.zeros_like(prompt.importance)
        for node in (graph.nodes[i] for i in nodes):
            kept = node.importance if by_importance else None
            g[node.position, columns[node.place, node.number]] = 1.0 if kept is None else kept
        aim = graph.aims[0]
        return masked_rows(prompt, g, prompt.raw > 0, aim, loss_of(objective, prompt.clean, aim), seed)
