"""Labels and harvests beside a graph: of another decomposition or model they are refused, though names agree."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.decomposition.tiny import decomposed, elsewhere
from tests.helpers import simple_mlp

from rankone.circuits.asking.evidence import require_same_parts
from rankone.circuits.build import belonging
from rankone.circuits.storage import load_graph, require_origin
from rankone.core.errors import RankOneError
from rankone.harvest.origin import decomposition_hash
from rankone.models.loading import model_hash

OTHER = "f" * 64
GOLDEN = Path(__file__).parents[1] / "golden" / "0.1-5" / "graph"


def harvest(decomposition, model) -> Any:
    origin = SimpleNamespace(decomposition=decomposition, model=SimpleNamespace(name="m", hash=model))
    return SimpleNamespace(origin=origin, artifact=SimpleNamespace(path="runs/harvest"))


def labels(decomposition) -> Any:
    return SimpleNamespace(decomposition=decomposition, artifact=SimpleNamespace(path="runs/labels"))


def test_what_is_of_the_same_parts_passes_and_what_is_not_is_refused(case):
    record = load_graph(case.path).graph.record
    parts, model = decomposition_hash(case.parts), model_hash(case.model)
    assert (record.decomposition, record.target) == (parts, model)
    assert require_same_parts(record, "'g'", harvest(parts, model), labels(None)) == ()
    assert require_same_parts(record, "'g'", None, labels(parts)) == ()
    for counted, given, said in (
        (
            harvest(OTHER, model),
            None,
            "'runs/harvest' was made from another decomposition .hash ffffffffffff…",
        ),
        (
            harvest(parts, OTHER),
            None,
            "'runs/harvest' was made from another model, 'm', .hash ffffffffffff…",
        ),
        (None, labels(OTHER), "'runs/labels' was made from another decomposition"),
    ):
        with pytest.raises(RankOneError, match=f"{said}.*than 'g'.*leave it out"):
            require_same_parts(record, "'g'", counted, given)
    (said,) = require_same_parts(record, "'g'", None, labels(None))
    assert "'runs/labels' does not say which decomposition it is of" in said


def test_an_older_graph_says_that_it_cannot_be_compared(case):
    record = case.made.graph.record.model_copy(update={"decomposition": None, "target": None})
    for counted, given in ((harvest(OTHER, OTHER), None), (None, labels(OTHER))):
        (said,) = require_same_parts(record, "'g'", counted, given)
        assert "'g' does not say which decomposition it is of" in said


def test_of_other_parts_names_are_compared(case):
    record = case.made.graph.record.model_copy(update={"origin": "neuron", "decomposition": None})
    (said,) = require_same_parts(record, "'g'", harvest(OTHER, record.target), None)
    assert "Parts of origin neuron are compared" in said
    with pytest.raises(RankOneError, match="another model"):
        require_same_parts(record, "'g'", harvest(OTHER, OTHER), None)


def test_a_model_with_other_weights_where_no_parts_are_is_refused(case):
    graph = load_graph(case.path).graph
    require_origin(graph, case.model, case.parts, "g")
    with pytest.raises(RankOneError, match="'g' is a graph of another model: what has parts is the same"):
        require_origin(graph, elsewhere(case.model), case.parts, "g")


def test_the_same_parts_with_other_importances_are_another_decomposition(case):
    graph, other = load_graph(case.path).graph, decomposed(simple_mlp())
    require_origin(graph, case.model, other, "g")
    names = {name for name, _ in other.named_parameters() if "importance" in name}
    assert names
    with torch.no_grad():
        next(p for name, p in other.named_parameters() if name in names).add_(1)
    assert belonging(case.model, other).parts == graph.record.parts
    with pytest.raises(RankOneError, match="'g' is a graph of another decomposition: its parts are the same"):
        require_origin(graph, case.model, other, "g")


def test_a_graph_of_schema_version_1_loads_and_knows_neither():
    old = load_graph(GOLDEN)
    assert old.artifact.manifest.schema_version == 1
    assert (old.graph.record.decomposition, old.graph.record.target) == (None, None)
