"""Files for circuit-tracer's viewer and in Neuronpedia's flavour against their field tables; what is shown of a graph."""

from __future__ import annotations

import json

import pytest
from tests.circuits.exchange.fields import check

from rankone.circuits.exchange.neuronpedia import neuronpedia_document
from rankone.circuits.exchange.rows import cantor, row_of
from rankone.circuits.exchange.shown import shown
from rankone.circuits.exchange.viewer import features, opened_state, viewer_document, write_viewer
from rankone.core.errors import RankOneError


@pytest.fixture(scope="module")
def seen(case):
    return shown(case.made.graph, "frozen", 12, 100)


def test_what_is_shown_is_counted(case, seen):
    graph = case.made.graph
    chosen = [i for i in seen.nodes if graph.nodes[i].kind == "subcomponent"]
    assert len(chosen) == 12
    assert min(float(graph.influence[i]) for i in chosen) >= max(
        float(graph.influence[i]) for i in graph.chosen if i not in chosen
    )
    assert 0 < seen.share < 1
    assert len(seen.weight) == 100 < seen.edges
    # What is not explained is in sight, and so is every token and output.
    kinds = {graph.nodes[i].kind for i in seen.nodes}
    assert {"unselected", "embedding", "output"} <= kinds
    everything = shown(graph, "frozen", 10**6, 10**6)
    assert everything.share == pytest.approx(1.0)
    assert set(graph.chosen) <= set(everything.nodes)
    assert {i for i, flow in enumerate(graph.influence.tolist()) if flow > 0} <= set(everything.nodes)
    assert len(everything.weight) == everything.edges


def test_circuit_tracers_viewer(seen, tmp_path):
    document = viewer_document(seen, "the-cat-frozen", opened_state(seen, None))
    check(document, neuronpedia=False)
    # One and the same number for a part at all positions, told from all other parts.
    named = {(n["subcomponent"], n["feature"]) for n in document["nodes"] if "subcomponent" in n}
    assert len({part for part, _ in named}) == len({feature for _, feature in named}) == len(named)
    address = write_viewer(seen, tmp_path, None)
    assert "slug=the-cat-frozen" in address
    listed = json.loads((tmp_path / "graph-metadata.json").read_text("utf8"))["graphs"]
    assert [g["slug"] for g in listed] == ["the-cat-frozen"]
    assert json.loads((tmp_path / "the-cat-frozen.json").read_text("utf8")) == document
    # A panel without a file breaks the viewer: every feature has one.
    for feature in features(seen).values():
        file = json.loads((tmp_path / "features" / "the-cat-frozen" / f"{feature}.json").read_text("utf8"))
        assert file["index"] == feature
        assert (file["act_min"], file["act_max"]) == (0.0, 1.0)


def test_neuronpedias_flavour(case, seen):
    document = neuronpedia_document(seen, "mini", "https://example.org/features")
    check(document, neuronpedia=True)
    assert document["metadata"]["feature_details"] == {
        "feature_json_base_url": "https://example.org/features"
    }
    layers = {int(n["layer"]) for n in document["nodes"] if n["layer"] != "E"}
    blocks = {n["feature_type"]: int(n["layer"]) for n in document["nodes"] if n["layer"] != "E"}
    assert max(layers) == blocks["logit"] == 2  # two blocks, and the logits above them
    with pytest.raises(RankOneError, match="cannot be the id of a model"):
        neuronpedia_document(seen, "my model")


def test_rows_and_numbers():
    assert [row_of(f"h.3.{s}") for s in ("attn.q_proj", "attn.o_proj", "mlp.c_fc", "mlp.down_proj")] == [
        12,
        13,
        14,
        15,
    ]
    assert cantor(2, 7) == 52  # the specification's own file
