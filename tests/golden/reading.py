"""What the readers of this version say of a folder of golden artefacts, as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from rankone.answers.collecting import read_collected
from rankone.circuits.storage import load_graph, require_origin
from rankone.circuits.transcoders.storage import load_transcoders
from rankone.clustering.components import Components
from rankone.core.artifact import open_artifact
from rankone.core.tensors import tensor_hash
from rankone.decomposition.evidence.records import Outline, read_outline
from rankone.decomposition.model import load_decomposition
from rankone.edits.lowrank import LowRankEdit
from rankone.experiments import tables
from rankone.harvest.counting.chunks import progress_of
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.store import open_labels
from rankone.models.loading import load_model, load_tokenizer, model_hash
from rankone.parts.parts import load_parts
from rankone.runtime.checkpoint import load_checkpoint
from rankone.text.corpus import SPLITS

NAME = "h.0.mlp.c_fc:3"


def read_all(folder: Path) -> dict[str, Any]:
    """Every artefact, opened by its reader and beside what it was made from."""
    model = load_model(folder / "model")
    values: dict[str, Any] = {
        "model": model_hash(model),
        "tokens": load_tokenizer(folder / "model")("the cat")["input_ids"],
    }
    for storage in ("float32", "bfloat16", "int8"):
        pair, _ = load_decomposition(folder / f"decomposition-{storage}", model)
        values[f"decomposition-{storage}"] = [model_hash(pair), pair.names()[:2], pair.total]
    pair, _ = load_decomposition(folder / "decomposition-bfloat16", model)
    edit = LowRankEdit.from_pretrained(folder / "edit")
    edit.check_base(model)
    values["edit"] = {
        site: [tensor_hash(factors.write), tensor_hash(factors.read)]
        for site, factors in edit.factors.items()
    }
    values |= _harvested(folder, pair, model) | _results(folder)
    values |= _later(folder, pair, model) if (folder / "parts").exists() else {}
    values |= _graph(folder, pair, model) if (folder / "graph").exists() else {}
    values |= _transcoders(folder, model) if (folder / "transcoders").exists() else {}
    return values | (_answers(folder) if (folder / "answers").exists() else {})


def _harvested(folder: Path, pair: Any, model: Any) -> dict[str, Any]:
    store = HarvestStore.open(folder / "harvest", pair, model)
    labels = open_labels(folder / "labels", store.artifact.fingerprint)
    components = Components.open(folder / "components", pair, model)
    page, best = store.page(NAME), labels.best(NAME)
    return {
        "harvest": {
            "tokens": store.tokens(),
            "firings": store.firings().tolist(),
            "mean": page.mean_importance,
            "inputs": [[row.text, row.weight] for row in _by_lift(page.input_tokens)[:3]],
            "examples": [example.tokens for example in page.examples],
            "pairs": store.cofiring().joint.sum().item(),
        },
        "label": [best.label, best.confidence, best.source],
        "components": [[c.component, c.members, c.firings, c.overlap] for c in components.rows[:3]],
    }


def _graph(folder: Path, pair: Any, model: Any) -> dict[str, Any]:
    saved = load_graph(folder / "graph")
    graph, account = saved.graph, saved.verification
    require_origin(graph, model, pair, saved.artifact.path)
    assert account is not None
    return {
        "graph": {
            "prompt": [graph.record.prompt, graph.record.outputs[0].text, graph.record.ids],
            "nodes": [[graph.name(i), n.kind, n.value, n.importance] for i, n in enumerate(graph.nodes[:5])],
            "influence": float(graph.influence.sum()),
            "edges": {rule: [len(e.weight), float(e.weight.sum())] for rule, e in graph.edges.items()},
            "verified": [account.exact, account.identity_worst, len(account.removals)],
        }
    }


def _answers(folder: Path) -> dict[str, Any]:
    said = {split: read_collected(folder / "answers", split) for split in SPLITS}
    return {"answers": {split: [habit.name, prompts] for split, (habit, prompts) in said.items()}}


def _transcoders(folder: Path, model: Any) -> dict[str, Any]:
    said, coders = load_transcoders(folder / "transcoders", model)
    return {"transcoders": [said.model_dump(mode="json"), [model_hash(coder) for coder in coders]]}


def _results(folder: Path) -> dict[str, Any]:
    rows = tables.read_table(folder / "results" / "runs.parquet")
    state = load_checkpoint(folder / "run", "0" * 64)
    assert state is not None
    return {
        "runs": [len(rows), rows[0]],
        "evidence": _evidence(folder).faithfulness,
        "adapter": open_artifact(folder / "adapter", "adapter").json("adapter_config.json"),
        "checkpoint": [state.step, state.tensors["w"].tolist(), state.values],
    }


def _evidence(folder: Path) -> Outline:
    return read_outline(
        open_artifact(folder / "evidence", "evidence").json("evidence.json"), "the golden evidence"
    )


def _by_lift(rows: Any) -> list[Any]:
    return sorted(rows, key=lambda row: (-row.lift, row.token_id))


def _later(folder: Path, pair: Any, model: Any) -> dict[str, Any]:
    """What folders after 0.1 hold besides."""
    sets = load_parts(folder / "parts", model)
    factors = [(one.factors(site), one) for one in sets for site in one.sites]
    store = HarvestStore.open(folder / "harvest-of-components", pair, model)
    chunk = open_artifact(folder / "harvest-chunk", "harvest-chunk")
    sums = pq.read_table(chunk.path / "sums.parquet")
    evidence = open_artifact(folder / "decomposition-float32", "decomposition").json("evidence.json")
    return {
        "parts": [[one.names(), tensor_hash(read), tensor_hash(write)] for (read, write), one in factors],
        "harvest-of-components": [
            [name, store.members(name), int(count), store.page(name).mean_activation]
            for name, count in zip(store.names()[:3], store.firings(), strict=False)
        ],
        "harvest-chunk": [progress_of(chunk).model_dump(), sums.column_names, sums.num_rows],
        "evidence of a decomposition": evidence["rows"],
        "sweep": open_artifact(folder / "sweep", "sweep").table("sweep").read().to_pylist(),
        "toy": open_artifact(folder / "toy", "toy").json("scores.json"),
        "training rows": np.load(open_artifact(folder / "tokens", "tokens").path / "rows.npy").tolist(),
    }
