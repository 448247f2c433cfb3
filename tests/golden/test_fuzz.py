"""Artefacts of every kind with any fault, signed anew: their readers give the named error, or read them; nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.golden.mutations import mutated

from rankone.circuits.storage import load_graph
from rankone.circuits.transcoders.storage import load_transcoders
from rankone.clustering.components import Components
from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.decomposition.evidence.records import read_outline
from rankone.decomposition.model import load_decomposition
from rankone.edits.adapter_reading import read_adapter
from rankone.edits.lowrank import LowRankEdit
from rankone.harvest.counting.chunks import progress_of
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.store import open_labels
from rankone.models.loading import load_model, load_tokenizer
from rankone.parts.parts import load_parts
from rankone.runtime.checkpoint import load_checkpoint

SOURCES = sorted(path.parent for path in Path(__file__).parent.glob("*/expected.json"))
NAME = "h.0.mlp.c_fc:3"


@pytest.fixture(scope="module")
def models():
    return {source: load_model(source / "model") for source in SOURCES}


def read_model(path, _):
    load_model(path)
    load_tokenizer(path)


def read_edit(path, model):
    LowRankEdit.from_pretrained(path).check_base(model)


def read_harvest(path, _):
    store = HarvestStore.open(path)
    store.tokens()
    store.firings()
    store.page(NAME)
    store.cofiring()


def read_components_harvest(path, _):
    store = HarvestStore.open(path)
    store.members("c0")
    store.page("c0")


def read_run(path, _):
    state = load_checkpoint(path, "0" * 64)
    if state is not None:
        dict(state.tensors)


READERS = {
    "model": read_model,
    "decomposition-float32": load_decomposition,
    "decomposition-bfloat16": load_decomposition,
    "decomposition-int8": load_decomposition,
    "edit": read_edit,
    "adapter": lambda path, _: (open_artifact(path, "adapter"), read_adapter(path)),
    "evidence": lambda path, _: read_outline(
        open_artifact(path, "evidence").json("evidence.json"), str(path)
    ),
    "harvest": read_harvest,
    "harvest-of-components": read_components_harvest,
    "harvest-chunk": lambda path, _: progress_of(open_artifact(path, "harvest-chunk")),
    "parts": load_parts,
    "labels": lambda path, _: open_labels(path, None).best(NAME),
    "components": lambda path, _: Components.open(path).rows,
    "graph": lambda path, _: load_graph(path),
    "transcoders": load_transcoders,
    "run": read_run,
}


def check(kind, tmp_path, models, seeds):
    """Faults in the artefacts of all versions in turns."""
    sources = [source for source in SOURCES if (source / kind).exists()]
    wrong = []
    for seed in seeds:
        folder, source = tmp_path / str(seed), sources[seed % len(sources)]
        said = mutated(source / kind, folder, seed)
        try:
            READERS[kind](folder, models[source])
        except RankOneError:
            pass
        except Exception as error:
            wrong.append(f"seed {seed}, {said}: {type(error).__name__}: {str(error)[:150]}")
    assert wrong == []


@pytest.mark.parametrize("kind", list(READERS))
def test_faults_are_named_errors(kind, tmp_path, models):
    check(kind, tmp_path, models, range(25))


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(READERS))
def test_many_faults_are_named_errors(kind, tmp_path, models):
    check(kind, tmp_path, models, range(25, 1025))


@pytest.mark.parametrize("seed", [1_000_217, 1_000_477])
def test_parts_whose_origin_was_changed_are_named_errors(seed, tmp_path, models):
    """Of the ten thousand (tests/soundness/fuzz.py)."""
    check("parts", tmp_path, models, [seed])
