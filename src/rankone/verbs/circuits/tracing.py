"""Verbs of attribution graphs: graph, and what is done with a saved one: graph-verify, graph-intervene, graph-export.

On the command line the last three may be written as two words (`rankone graph verify DIR`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rankone.circuits.asking.replies import (
    GraphExportReply,
    GraphInterveneReply,
    GraphReply,
    GraphVerifyReply,
)
from rankone.circuits.asking.requests import (
    GraphExportRequest,
    GraphInterveneRequest,
    GraphRequest,
    GraphVerifyRequest,
)
from rankone.circuits.config import GraphConfig
from rankone.core.errors import RankOneError
from rankone.opening import Opening
from rankone.verbs.verb import Opens, Verb

if TYPE_CHECKING:
    from rankone.circuits.graph import Graph
    from rankone.circuits.records import Verification
    from rankone.parts.parts import Parts


def graph(opening: Opening, request: GraphRequest) -> GraphReply:
    """Draw which parts lead from a prompt to the next token, check the drawing, and say how far to trust it."""
    from rankone.circuits.asking.evidence import require_same_parts
    from rankone.circuits.asking.summary import graph_reply
    from rankone.circuits.build import belonging, make_graph
    from rankone.circuits.graph import relabelled
    from rankone.circuits.stability import stability
    from rankone.circuits.storage import save_graph
    from rankone.circuits.verification.verify import verified

    parts = _parts(opening, request.source or "")
    config = request.as_config(GraphConfig, "graph")
    of = belonging(opening.model, parts)
    not_compared = require_same_parts(of, "the graph", opening.harvest_store, opening.labels)
    made = make_graph(opening.model, opening.tokenizer, parts, request.prompt, config, of)
    account = None
    if not request.unverified:
        rows = stability(
            opening.model, opening.tokenizer, parts, made.graph, config, request.seeds, request.paraphrase
        )
        account = verified(parts, made, request.removed, request.seed, rows)
    drawn, labels = made.graph, opening.labels
    if labels is not None:
        drawn = relabelled(drawn, {name: labels.words(name) for name in labels.names()})
    if request.out is not None:
        save_graph(drawn, request.out, account)
    reply = graph_reply(drawn, account, request.rule, request.top, request.out)
    return reply.model_copy(update={"not_compared": not_compared})


def _graph_unused(opening: Opening, request: GraphRequest) -> dict[Opens, str]:  # noqa: ARG001
    if opening.options.labels is not None:
        return {}
    return {"harvest": "it tells whose --labels are, and none are given. Give both, or leave it out."}


def graph_verify(opening: Opening, request: GraphVerifyRequest) -> GraphVerifyReply:
    """Draw a saved graph again, check it against forwards of the model, and keep the verdict beside it."""
    from rankone.circuits.asking.trust import trust
    from rankone.circuits.build import remade
    from rankone.circuits.storage import save_graph
    from rankone.circuits.verification.verify import verified

    saved, before, parts = _opened(opening, request.graph)
    made = remade(saved, opening.model, parts)
    rows = () if before is None else before.stability
    account = verified(parts, made, request.removed, request.seed, rows)
    save_graph(saved, request.graph, account, replace=True)
    said = trust(saved.record, account, "frozen")
    target = saved.record.outputs[0].text
    return GraphVerifyReply(graph=request.graph, target=target, verification=account, trust=said)


def graph_intervene(opening: Opening, request: GraphInterveneRequest) -> GraphInterveneReply:
    """Remove nodes of a saved graph, scale them, or keep only them: what it predicts beside what happens."""
    from rankone.circuits.asking.trust import trust

    saved, account, parts = _opened(opening, request.graph)
    said = trust(saved.record, account, "grad")
    if request.keep:
        return _kept(opening, request, saved, parts, said)
    return _changed(opening, request, saved, parts, said)


def _kept(
    opening: Opening, request: GraphInterveneRequest, saved: Graph, parts: Parts, said: str
) -> GraphInterveneReply:
    from rankone.circuits.asking.places import Place
    from rankone.circuits.changing import kept_rows, nodes_at
    from rankone.decomposition.model import Decomposition

    if not isinstance(parts, Decomposition):
        raise RankOneError(
            f"--keep masks a decomposition, and {parts.origin} parts have no masks. Use --drop or --scale."
        )
    nodes = saved.chosen
    if "all" not in request.keep:
        nodes = sorted({i for name in request.keep for i in nodes_at(saved, Place.of(name))})
    rows = kept_rows(saved, opening.model, parts, nodes, request.seed)
    target = saved.record.outputs[0].text
    return GraphInterveneReply(
        graph=request.graph, places=request.keep, kept=tuple(rows), target=target, trust=said
    )


def _changed(
    opening: Opening, request: GraphInterveneRequest, saved: Graph, parts: Parts, said: str
) -> GraphInterveneReply:
    import torch

    from rankone.circuits.build import prompt_ids
    from rankone.circuits.changing import changes_of, likely, outcomes
    from rankone.circuits.intervene import continued

    factors = {**dict.fromkeys(request.drop, 0.0), **request.scale}
    changes = changes_of(saved, factors)
    ids = torch.tensor(saved.record.ids, device=opening.model.device)
    if request.prompt is not None:
        other = prompt_ids(opening.model, opening.tokenizer, request.prompt)
        if len(other) != len(ids):
            raise RankOneError(
                f"tokens of the other prompt: {len(other)}, of the graph's: {len(ids)}; positions would not agree."
            )
        ids = other
    rows, before, after = outcomes(saved, opening.model, parts, changes, ids)
    texts: list[str | None] = [None, None]
    if request.continue_:
        going = (continued(opening.model, parts, ids, c, request.continue_) for c in ((), changes))
        texts = [str(opening.tokenizer.decode(row)) for row in going]  # pyright: ignore[reportUnknownMemberType]
    return GraphInterveneReply(
        graph=request.graph,
        places=tuple(f"{place}={factor:g}" for place, factor in factors.items()),
        outcomes=tuple(rows),
        likely=tuple(likely(before, after, opening.tokenizer)),
        before=texts[0],
        after=texts[1],
        edit=_as_edit(factors),
        opened=opening.options.spelled("model", "decomposition", "parts"),
        trust=said,
    )


def _as_edit(factors: dict[str, float]) -> str | None:
    """The command that makes the change one of the weights; None where some of it holds at one position alone."""
    if not all(place.endswith("@all") for place in factors):
        return None
    words = " ".join(f"{place.removesuffix('@all')}={factor:g}" for place, factor in factors.items())
    return f"rankone edit {words} --out DIR"


def graph_export(opening: Opening, request: GraphExportRequest) -> GraphExportReply:
    """Write a saved graph as a standalone page, for circuit-tracer's viewer, or in Neuronpedia's format."""
    from rankone.circuits.exchange.export import exported
    from rankone.clustering.components import Components

    # A harvest of subcomponents may stand beside components here: of the one examples are shown, by the others is grouped.
    clusters = opening.options.clusters if request.groups else None
    components = None if clusters is None else Components.open(clusters)
    return exported(request, opening.harvest_store, opening.labels, components)


def _export_unused(opening: Opening, request: GraphExportRequest) -> dict[Opens, str]:
    unused: dict[Opens, str] = {}
    mend = "Give one of them, or leave it out."
    if not request.groups:
        unused["clusters"] = f"it groups the nodes of --viewer and --neuronpedia. {mend}"
    if request.viewer is None and request.page is None and opening.options.labels is None:
        unused["harvest"] = f"it is for --viewer and --page, and tells whose --labels are. {mend}"
    return unused


def _opened(opening: Opening, path: Path) -> tuple[Graph, Verification | None, Parts]:
    """A saved graph, its verification, and its parts, checked to be this model's."""
    from rankone.circuits.storage import load_graph, require_origin

    saved = load_graph(path)
    parts = _parts(opening, saved.graph.record.origin)
    require_origin(saved.graph, opening.model, parts, path)
    return saved.graph, saved.verification, parts


def _parts(opening: Opening, origin: str) -> Parts:
    """The parts of an origin: the decomposition, the saved ones, or all that follow from the weights."""
    from rankone.parts.parts import load_parts

    if not origin:
        return opening.decomposition
    saved = [] if opening.options.parts is None else load_parts(opening.options.parts, opening.model)
    return next((one for one in saved if one.origin == origin), None) or opening.book.gathered(
        [f"{origin}/*"]
    )


_PARTS = ("model", "decomposition", "parts", "labels", "harvest", "device", "dtype")

VERBS = (
    Verb(
        "graph",
        GraphRequest,
        GraphReply,
        graph,
        _PARTS,
        first="model",
        needs=("model",),
        writes=("out",),
        unused=_graph_unused,
    ),
    Verb(
        "graph-verify",
        GraphVerifyRequest,
        GraphVerifyReply,
        graph_verify,
        ("model", "decomposition", "parts", "device", "dtype"),
    ),
    Verb(
        "graph-intervene",
        GraphInterveneRequest,
        GraphInterveneReply,
        graph_intervene,
        ("model", "decomposition", "parts", "device", "dtype"),
        cost="seconds",
    ),
    Verb(
        "graph-export",
        GraphExportRequest,
        GraphExportReply,
        graph_export,
        ("harvest", "labels", "clusters"),
        writes=("viewer", "neuronpedia", "page"),
        unused=_export_unused,
        without=dict.fromkeys(("device", "dtype"), "files are written, no model runs"),
        cost="seconds",
    ),
)
