"""A Hub id stands wherever a folder does: what a session opens, what a verb reads, what a class loads."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.sharing.fake_hub import Repository

from rankone.core.errors import RankOneError
from rankone.core.tensors import tensor_hash
from rankone.doctor.checkup import check
from rankone.edits.adapter_reading import is_adapter
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.projection.requests import ProjectRequest
from rankone.opening import Opening, OpenOptions
from rankone.sharing.pushing import push
from rankone.sharing.requests import PushRequest
from rankone.verbs.editing import GenerateRequest
from rankone.verbs.preflight import brought

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "0.1-2"


def send(kind):
    push(PushRequest(artefact=GOLDEN / kind, repo=f"me/{kind}"))


def test_a_session_opens_what_is_on_the_hub(hub):
    send("harvest")
    opening = Opening(OpenOptions(harvest=Path("me/harvest")))
    assert opening.options.harvest.is_dir()
    assert len(opening.harvest_store.names()) > 0
    with pytest.raises(RankOneError, match="of kind 'harvest', but 'labels' is needed"):
        Opening(OpenOptions(labels=Path("me/harvest")))


def test_a_verb_reads_what_is_on_the_hub(hub):
    send("edit")
    request = brought(GenerateRequest(prompt="a", edit=Path("me/edit")))
    assert (request.edit / "manifest.json").is_file()
    assert brought(GenerateRequest(prompt="a")).edit is None


def test_an_edit_goes_and_comes_by_its_class(hub):
    edit = LowRankEdit.from_pretrained(GOLDEN / "edit")
    sent = edit.push_to_hub("me/edit")
    assert hub.repositories["me/edit"].private
    back = LowRankEdit.from_pretrained(f"me/edit@{sent.commit}")
    assert {s: [tensor_hash(t) for t in f] for s, f in back.factors.items()} == {
        s: [tensor_hash(t) for t in f] for s, f in edit.factors.items()
    }
    assert back.base == edit.base


def test_a_lora_on_the_hub_may_be_an_artefact_an_edit_or_what_peft_sent(hub):
    send("adapter")
    send("edit")
    files = ("adapter_config.json", "adapter_model.safetensors")
    plain = {name: (GOLDEN / "adapter" / name).read_bytes() for name in files}
    hub.repositories["me/plain"] = Repository(commits={"c" * 40: plain})
    for name, held in (("adapter", "manifest.json"), ("edit", "manifest.json"), ("plain", files[1])):
        request = brought(ProjectRequest(adapter=Path(f"me/{name}")))
        assert (request.adapter / held).is_file()
    assert is_adapter(request.adapter)
    asked = len(hub.asked)
    assert brought(ProjectRequest(adapter=Path("me/plain"))) == request
    assert len(hub.asked) == asked  # the cache has it whole
    hub.repositories["me/pickled"] = Repository(
        commits={"d" * 40: {files[0]: b"{}", "adapter_model.bin": b""}}
    )
    with pytest.raises(RankOneError, match="nor a LoRA as PEFT saves it"):
        brought(ProjectRequest(adapter=Path("me/pickled")))


def test_the_doctor_names_the_folders_of_a_repository_of_several(hub, corpus):
    push(PushRequest(artefact=GOLDEN / "edit", repo="me/shelf", folder="edit"))
    with pytest.raises(RankOneError, match=r"it has edit\. Name one by its address"):
        check("me/shelf", None, corpus, 5)


def test_the_doctor_looks_at_what_is_on_the_hub(hub, corpus):
    send("edit")
    findings = list(check("me/edit", str(GOLDEN / "model"), corpus, 5))
    assert [f.status for f in findings] == ["ok"] * 5


def test_a_repository_that_is_no_name_is_refused_in_a_line():
    """By `push_to_hub` of what is in memory as by `push`: a RankOneError, none of a library's."""
    edit = LowRankEdit.from_pretrained(GOLDEN / "edit")
    with pytest.raises(RankOneError, match=r"^push_to_hub: repo: 'noslash' names no repository"):
        edit.push_to_hub("noslash")
