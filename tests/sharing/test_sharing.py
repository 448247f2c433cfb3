"""Artefacts go to a Hub and come back the same: one commit, pinned, resumed, refused by name where they should be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError
from tests.sharing.fake_hub import TOKEN

from rankone.core.artifact import file_hash, open_artifact
from rankone.core.errors import RankOneError
from rankone.runtime import hub as reach
from rankone.sharing.answers import asking
from rankone.sharing.fetching import local
from rankone.sharing.names import Remote
from rankone.sharing.pushing import push
from rankone.sharing.requests import PushRequest

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "0.1-2"


def send(path, repo="me/thing", **more):
    return push(PushRequest(artefact=path, repo=repo, **more))


@pytest.mark.parametrize("kind", ["edit", "decomposition-int8", "harvest", "labels", "parts", "evidence"])
def test_an_artefact_comes_back_the_same(hub, kind):
    sent = send(GOLDEN / kind)
    back = open_artifact(local("me/thing"), sent.kind)
    assert back.fingerprint == open_artifact(GOLDEN / kind).fingerprint
    assert (
        local(f"me/thing@{sent.commit}") == local(f"{hub.address}/me/thing/tree/{sent.commit}") == back.path
    )
    assert hub.repositories["me/thing"].private
    assert "library_name: rankone" in hub.repositories["me/thing"].files("main")["README.md"].decode()


def test_what_is_in_the_cache_is_opened_without_asking(hub, monkeypatch):
    send(GOLDEN / "edit")
    first = local("me/thing")
    hub.close()
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    reach.reachable.cache_clear()
    assert local("me/thing") == first
    assert hub.asked == []
    with pytest.raises(
        RankOneError, match="'me/other' is not a folder, the cache does not hold it whole, and the Hub"
    ):
        local("me/other")


def test_nothing_leaves_before_the_size_is_said(hub):
    said = send(GOLDEN / "edit", dry_run=True)
    assert hub.asked == []
    assert said.commit is None
    assert said.size == sum(f.stat().st_size for f in (GOLDEN / "edit").iterdir())
    assert "| site | weight | rank of the change |" in said.card
    assert list(said.lines()) == ["Nothing was sent. The card:", "", *said.card.splitlines()]
    sent = send(GOLDEN / "edit")
    assert list(sent.lines()) == [f"sent to {sent.address}", f"this commit: me/thing@{sent.commit}"]


def test_a_push_that_broke_goes_on_without_sending_twice(hub):
    hub.fail_after = 1
    with pytest.raises(RankOneError, match="the Hub did not do what was asked of 'me/thing'"):
        send(GOLDEN / "harvest")
    assert not hub.repositories["me/thing"].commits  # nothing is half there
    hub.fail_after = None
    send(GOLDEN / "harvest")
    assert len(hub.sent) == len(set(hub.sent))
    assert open_artifact(local("me/thing"), "harvest")


def test_private_and_missing_repositories_are_one_line(hub, monkeypatch):
    send(GOLDEN / "edit")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(RankOneError, match=r"'me/thing' is private or does not exist.*log in"):
        local("me/thing")
    with pytest.raises(RankOneError, match=r"[Ll]og in"):
        send(GOLDEN / "edit", "me/second")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(RankOneError, match="'me/nothing' is private or does not exist"):
        local("me/nothing")
    with pytest.raises(RankOneError, match="no revision 'v9'"):
        local("me/thing@v9")


def test_a_gated_repository_says_where_to_ask():
    answer = httpx2.Response(403, request=httpx2.Request("GET", "https://huggingface.co/me/gated"))
    gated = pytest.raises(RankOneError, match="'me/gated' is gated: ask for access on its page, then log in")
    with gated, asking(Remote("me/gated")):
        raise GatedRepoError("no", response=answer)


def test_a_wrong_kind_is_refused_before_it_is_brought(hub):
    send(GOLDEN / "edit")
    with pytest.raises(RankOneError, match="of kind 'edit', but 'harvest' is needed"):
        local("me/thing", "harvest")
    assert not [path for _, path in hub.asked if path.endswith("tensors.safetensors")]
    with pytest.raises(RankOneError, match="holds an artefact of kind 'edit', and a labels was to be sent"):
        send(GOLDEN / "labels")


def test_an_artefact_is_replaced_by_a_later_one_and_the_first_stays_pinned(hub):
    first = send(GOLDEN / "decomposition-float32")
    second = send(GOLDEN / "decomposition-int8")
    assert "evidence.json" not in hub.repositories["me/thing"].files("main")
    assert "evidence.json" in open_artifact(local(f"me/thing@{first.commit}"))
    assert second.commit != first.commit


def test_pickles_neither_go_nor_come(hub, tmp_path):
    shutil.copytree(GOLDEN / "edit", tmp_path / "edit")
    (tmp_path / "edit" / "extra.pkl").write_bytes(b"x")
    manifest = json.loads((tmp_path / "edit" / "manifest.json").read_text("utf8"))
    manifest["files"]["extra.pkl"] = file_hash(tmp_path / "edit" / "extra.pkl")
    (tmp_path / "edit" / "manifest.json").write_text(json.dumps(manifest), "utf8")
    with pytest.raises(RankOneError, match=r"holds 'extra.pkl', a format that can run code"):
        send(tmp_path / "edit")
    send(GOLDEN / "edit")
    held = hub.repositories["me/thing"]
    held.commits["f" * 40] = {
        **held.files("main"),
        "manifest.json": json.dumps(manifest).encode(),
        "extra.pkl": b"x",
    }
    with pytest.raises(RankOneError, match=r"'extra.pkl', a format that can run code"):
        local("me/thing")


def test_what_was_altered_on_the_way_is_refused(hub):
    send(GOLDEN / "edit")
    held = hub.repositories["me/thing"]
    held.commits["e" * 40] = {**held.files("main"), "config.json": b"{}"}
    with pytest.raises(RankOneError, match="was altered or truncated"):
        local("me/thing")


def test_a_damaged_artefact_is_not_sent(hub, tmp_path):
    shutil.copytree(GOLDEN / "edit", tmp_path / "edit")
    (tmp_path / "edit" / "config.json").write_text("{}", "utf8")
    with pytest.raises(RankOneError, match="altered"):
        send(tmp_path / "edit")
    assert hub.asked == []


def test_foreign_files_are_not_overwritten(hub):
    send(GOLDEN / "edit")
    held = hub.repositories["me/thing"]
    held.commits["d" * 40] = {"model.safetensors": b"x"}
    with pytest.raises(RankOneError, match=r"holds other files \(model.safetensors\)"):
        send(GOLDEN / "edit")
