"""Components on disk, what their names stand for, and the whole way from text."""

from __future__ import annotations

import math

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.clustering.planted import length_by_definition, planted_fires, sample_of
from tests.decomposition.tiny import decomposed, elsewhere, target

from rankone.clustering import run
from rankone.clustering.components import Components, describe, save_components
from rankone.clustering.config import ClusterConfig
from rankone.clustering.merging import merge_all
from rankone.clustering.run import cluster
from rankone.clustering.sample import Sample
from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.harvest.origin import ModelRecord, Origin, TextRecord
from rankone.workspace import Workspace

FIRES, CLUSTER = planted_fires(np.random.default_rng(0), 1000, [2, 4, 3, 1, 1])
MADE_FROM = Origin(
    decomposition="abc",
    model=ModelRecord(name="m", hash="def"),
    text=TextRecord(name="t", fingerprint="ghi"),
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Planted clusters, saved: (components, merges)."""
    sample, path = sample_of(FIRES), tmp_path_factory.mktemp("clusters") / "found"
    merges = merge_all(sample, 3.0, None, 0)
    return save_components(
        path, sample, merges, MADE_FROM, ClusterConfig(domains=("de",), rank_penalty=3.0)
    ), merges


def test_description_by_hand():
    """Units 0 and 2 together: they fire at 0 1 2 and 1 2 3; unit 1 at 0; units 3 and 4 at 4."""
    sample = Sample(
        [f"s:{i}" for i in range(5)],
        ("de", "en"),
        np.array([0, 0, 1, 1, 1]),
        np.array([0, 0, 1, 1, 2, 2, 3, 4, 4]),
        np.array([0, 1, 0, 2, 0, 2, 2, 3, 4]),
    )
    first, second, third = describe(sample, np.array([7, 1, 7, 3, 3]), 0.5)
    assert (first.component, first.members, first.firings) == ("c0", ["s:0", "s:2"], 4)
    assert first.overlap == pytest.approx(6 / 8)
    assert first.domain_firings == [2, 2]
    saved = [c.bits_saved for c in (first, second, third)]
    assert saved == pytest.approx([2 * math.log2(3) - 1, math.log2(3), 0])
    assert (second.members, second.overlap, second.domain_firings) == (["s:3", "s:4"], 1.0, [0, 1])
    assert (third.component, third.members, third.firings, third.overlap) == ("c2", ["s:1"], 1, 1.0)


def test_a_lump_of_what_never_fires_together_saves_nothing():
    lump, single = describe(sample_of(np.eye(3)), np.array([0, 0, 1]), 10.0)[::-1]
    assert (single.members, single.bits_saved) == (["h.0.mlp.c_fc:2"], 0)
    assert (lump.component, lump.overlap, lump.bits_saved) == ("c1", 0.5, -20)


def test_saved_and_opened(saved):
    found, merges = saved
    names = sample_of(FIRES).names
    assert [found.members(c) for c in found.names()[:3]] == [names[2:6], names[6:9], names[:2]]
    assert sorted(c for c in found.names() if len(found.members(c)) == 1) == ["c3", "c4"]
    assert found.owner(names[7]) == "c1"
    assert found.owner("h.0.mlp.c_fc:99") is None
    assert found.component("c2").firings == FIRES[:, :2].any(1).sum()
    record = found.record
    assert record.agrees(MADE_FROM)
    assert record.positions == 1000
    assert record.bits_before == pytest.approx(length_by_definition(FIRES, np.arange(11), 3.0))
    assert record.bits_after == pytest.approx(length_by_definition(FIRES, CLUSTER, 3.0))
    assert record.bits_after == pytest.approx(merges.bits.min())
    assert record.merges == 6
    way = pq.read_table(found.artifact.path / "merges.parquet").to_pydict()
    assert way["groups"] == list(range(10, 10 - len(merges.first), -1))
    assert way["bits"] == merges.bits[1:].tolist()
    assert way["first"][0] == names[merges.first[0]]


@pytest.mark.parametrize(("name", "offer"), [("c99", "c0 to c4"), ("c44", "Nearest: c4")])
def test_an_unknown_component(saved, name, offer):
    with pytest.raises(RankOneError, match=f"no component '{name}'.*{offer}"):
        saved[0].members(name)


@pytest.fixture(scope="module")
def clustered(tmp_path_factory, tokenizer, corpus):
    """Components of a tiny decomposition, from text: (decomposition, arguments, components)."""
    model = target(vocab_size=len(tokenizer))
    decomposition = decomposed(model)
    config = ClusterConfig(domains=("de", "en"), tokens=300, context=40, rank_penalty=2.0)
    folder = tmp_path_factory.mktemp("run")
    given = (Workspace(model, tokenizer, corpus, decomposition), config)
    return decomposition, given, cluster(*given, folder / "first")


def test_from_text_to_components(clustered):
    decomposition, _, found = clustered
    members = [m for name in found.names() for m in found.members(name)]
    assert len(members) == len(set(members)) > 2
    assert set(members) <= set(decomposition.names())
    assert found.record.domains.keys() == {"de", "en"}
    assert sum(found.record.domains.values()) == found.record.positions
    assert found.record.config.rank_penalty == 2.0
    assert found.record.bits_after <= found.record.bits_before
    assert Components.open(found.artifact.path, decomposition).names() == found.names()


def test_the_same_again_is_the_same(clustered, tmp_path):
    _, given, found = clustered
    assert cluster(*given, tmp_path / "again").artifact.fingerprint == found.artifact.fingerprint


def test_without_a_folder_they_are_the_same(clustered):
    _, given, found = clustered
    assert [(c.component, c.members) for c in run.clustered(*given)] == [
        (name, found.members(name)) for name in found.names()
    ]


def test_another_decomposition_is_refused(clustered):
    found = clustered[2]
    other = decomposed(target(seed=1))
    with pytest.raises(RankOneError, match="was made from another decomposition"):
        Components.open(found.artifact.path, other)


def test_another_model_is_refused_whatever_its_decomposition(clustered):
    decomposition, (workspace, _), found = clustered
    model = workspace.model
    assert Components.open(found.artifact.path, decomposition, model).names() == found.names()
    with pytest.raises(RankOneError, match="was made from another model"):
        Components.open(found.artifact.path, decomposition, elsewhere(model))


def test_an_existing_output_is_refused_before_any_work(clustered):
    _, given, found = clustered
    before = open_artifact(found.artifact.path).fingerprint
    with pytest.raises(RankOneError, match="already exists"):
        cluster(None, *given[1:], found.artifact.path)
    assert open_artifact(found.artifact.path).fingerprint == before
