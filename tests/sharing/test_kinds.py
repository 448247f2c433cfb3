"""Every kind by its class: saved to a folder, sent to the Hub, and back the same, its tables in the card."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.decomposition.evidence.values import evidence

from rankone.circuits.storage import SavedGraph
from rankone.clustering.components import Components
from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.core.tensors import tensor_hash
from rankone.decomposition.model import Decomposition
from rankone.edits.lowrank import LowRankEdit
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.store import Labels
from rankone.metrics.damage_record import Damage, DomainDamage, measured
from rankone.models.loading import load_model
from rankone.models.sites import find_sites
from rankone.parts.parts import Parts
from rankone.parts.sources import make_parts
from rankone.parts.storage import save_parts

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "0.1-3"
DAMAGE = Damage(
    base=2.5, edited=2.625, rise=0.125, error=0.01, low=0.1, high=0.15, level=0.95, tokens=80, passages=4
)


@pytest.fixture(scope="module")
def model():
    return load_model(GOLDEN / "model")


def card_of(hub, repo):
    return hub.repositories[repo].files("main")["README.md"].decode()


@pytest.mark.parametrize(
    ("kind", "folder", "said"),
    [
        (HarvestStore, "harvest", "| domain | tokens |"),
        (Components, "components", "Clusters of subcomponents"),
        (Labels, "labels", "| part | label | confidence | by |"),
        (SavedGraph, "graph", "| masks | nodes | probability of the output |"),
    ],
)
def test_what_is_opened_goes_as_it_lies(hub, tmp_path, kind, folder, said):
    opened = kind.from_pretrained(GOLDEN / folder)
    copy = opened.save_pretrained(tmp_path / "copy")
    assert open_artifact(copy).manifest == opened.artifact.manifest
    with pytest.raises(RankOneError, match="already exists"):
        opened.save_pretrained(copy)
    sent = opened.push_to_hub("me/thing")
    back = kind.from_pretrained(f"me/thing@{sent.commit}")
    assert back.artifact.fingerprint == opened.artifact.fingerprint
    assert said in card_of(hub, "me/thing")


def test_what_was_altered_since_is_not_copied(tmp_path):
    labels = Labels.from_pretrained(
        Labels.from_pretrained(GOLDEN / "labels").save_pretrained(tmp_path / "labels")
    )
    (tmp_path / "labels" / "config.json").write_text("{}", "utf8")
    with pytest.raises(RankOneError, match="was altered or truncated"):
        labels.save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_decomposition_goes_with_its_evidence(hub, model):
    made = Decomposition.from_pretrained(GOLDEN / "decomposition-float32", model)
    made.push_to_hub("me/thing", model, evidence=evidence(), storage="float32")
    back = Decomposition.from_pretrained("me/thing", model)
    assert back.names() == made.names()
    assert [tensor_hash(p) for p in back.parameters()] == [tensor_hash(p) for p in made.parameters()]
    assert "## Verdict" in card_of(hub, "me/thing")
    with pytest.raises(RankOneError, match="is of origin '', not 'neuron'"):
        Decomposition.from_pretrained("me/thing", model, "neuron")


def test_parts_go_and_come_by_their_class(hub, model, tmp_path):
    sites = find_sites(model, ["h.0.mlp.c_fc"])
    singular, random = (make_parts(source, sites, count=2) for source in ("singular", "random"))
    singular.push_to_hub("me/thing", model)
    back = Parts.from_pretrained("me/thing", model)
    assert (back.names(), back.made) == (singular.names(), singular.made)
    assert torch.equal(back.factors("h.0.mlp.c_fc")[0], singular.factors("h.0.mlp.c_fc")[0])
    assert "| singular | h.0.mlp.c_fc |" in card_of(hub, "me/thing")
    save_parts([singular, random], model, tmp_path / "two")
    assert Parts.from_pretrained(tmp_path / "two", model, "random").origin == "random"
    with pytest.raises(RankOneError, match=r"several origins \(singular, random\)"):
        Parts.from_pretrained(tmp_path / "two", model)
    with pytest.raises(RankOneError, match="no parts of origin 'contrast'"):
        Parts.from_pretrained(tmp_path / "two", model, "contrast")


def test_the_damage_of_an_edit_is_in_its_card_and_travels_on(hub, model):
    edit = LowRankEdit.from_pretrained(GOLDEN / "edit").bind(model)
    edit.push_to_hub("me/first", provenance=measured([DomainDamage.of("de", DAMAGE, "forget")]))
    row = "| de | forget | 2.5 | 2.625 | 0.125 | 0.1 | 0.15 |"
    assert row in card_of(hub, "me/first")
    back = LowRankEdit.from_pretrained("me/first")
    back.push_to_hub("you/second")
    assert row in card_of(hub, "you/second")
    back.scale(0.5).push_to_hub("you/third")  # another edit: what was measured is not its damage
    assert "Damage" not in card_of(hub, "you/third")
