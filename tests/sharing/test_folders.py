"""One repository with several artefacts: a folder each, opened by the kind that is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants
from tests.sharing.test_sharing import GOLDEN, send

from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.store import Labels
from rankone.opening import Opening, OpenOptions
from rankone.runtime import hub as reach
from rankone.sharing.fetching import local
from rankone.sharing.requests import PushRequest


@pytest.fixture
def shelf(hub):
    """A harvest with its labels."""
    HarvestStore.open(GOLDEN / "harvest").push_to_hub("me/run", folder="harvest")
    Labels.from_pretrained(GOLDEN / "labels").push_to_hub("me/run", folder="labels")
    return hub


def test_a_harvest_with_its_labels_is_one_name(shelf):
    opening = Opening(OpenOptions(harvest=Path("me/run"), labels=Path("me/run")))
    assert opening.labels is not None
    assert opening.labels.names() == opening.harvest_store.names()


def test_a_folder_has_an_address_and_its_commits(shelf):
    repository = shelf.repositories["me/run"]
    first, second = list(repository.commits)
    at = f"{shelf.address}/me/run/tree"
    assert open_artifact(local(f"{at}/main/labels")).manifest.kind == "labels"
    assert open_artifact(local(f"{at}/{first}/harvest")).manifest.kind == "harvest"
    with pytest.raises(RankOneError, match=r"several artefacts; it has harvest\. Name one by its address"):
        local(f"me/run@{first}")
    with pytest.raises(RankOneError, match=r"holds no labels; it has harvest. Name one .*/harvest\."):
        local(f"me/run@{first}", "labels")
    assert local(f"me/run@{second}", "labels").name == "labels"


def test_cards_of_the_folders_and_of_the_whole(shelf):
    files = shelf.repositories["me/run"].files("main")
    assert b"| domain | tokens |" in files["harvest/README.md"]
    assert f"rankone doctor {shelf.address}/me/run/tree/main/labels".encode() in files["labels/README.md"]
    top = files["README.md"].decode()
    assert "| [harvest](harvest/README.md) | harvest |" in top
    assert "| [labels](labels/README.md) | labels |" in top


def test_an_own_card_at_the_top_stays(shelf):
    repository = shelf.repositories["me/run"]
    repository.commits["c" * 40] = {**repository.files("main"), "README.md": b"mine"}
    send(GOLDEN / "edit", "me/run", folder="edit")
    assert repository.files("main")["README.md"] == b"mine"


def test_what_is_cached_is_opened_without_asking(shelf, monkeypatch):
    first = local("me/run", "labels")
    shelf.close()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    reach.reachable.cache_clear()
    assert local("me/run", "labels") == first


def test_the_two_layouts_are_not_mixed(shelf):
    with pytest.raises(RankOneError, match=r"holds several artefacts in folders \(harvest, labels\)"):
        send(GOLDEN / "edit", "me/run")
    with pytest.raises(RankOneError, match="of kind 'harvest', and a edit was to be sent"):
        send(GOLDEN / "edit", "me/run", folder="harvest")
    send(GOLDEN / "edit", "me/one")
    with pytest.raises(RankOneError, match="holds one artefact at its top"):
        send(GOLDEN / "labels", "me/one", folder="labels")


def test_a_folder_is_one_word():
    with pytest.raises(RankOneError, match="not a folder at the top"):
        PushRequest.checked({"artefact": ".", "repo": "me/run", "folder": "../x"}, "push")
