"""What lies in a workspace: listed by ids, broken ones with the reason, nothing behind links."""

from __future__ import annotations

import json

import pytest

from rankone import open as open_session
from rankone.core.errors import RankOneError
from rankone.studio.shelf import Shelf


@pytest.fixture
def workspace(tmp_path):
    """Two saved edits, one of them altered, a page, a hidden folder and a link."""
    session = open_session("mini")
    edit = session.scale({"h.3.mlp.down_proj:270": -8.0})
    for name in ("good", "group/bad", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        edit.save_pretrained(tmp_path / name)
    manifest = tmp_path / "group" / "bad" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema_version": 99}))
    (tmp_path / "good" / "index.html").write_text("<p>page</p>")
    (tmp_path / "outside").symlink_to(tmp_path / ".hidden")
    return tmp_path


def test_whole_and_broken_are_listed(workspace):
    shelf = Shelf(workspace)
    listed = {entry.name: entry for entry in shelf.list()}
    assert set(listed) == {"good", "group/bad"}
    assert (listed["good"].kind, listed["good"].broken, listed["good"].page) == ("edit", "", True)
    assert "version" in listed["group/bad"].broken
    assert shelf.page(listed["good"].id) == b"<p>page</p>"
    assert Shelf(workspace).place(listed["good"].id) == workspace / "good"


def test_ids_that_were_not_listed_are_refused(workspace):
    with pytest.raises(RankOneError, match="no artefact of that id"):
        Shelf(workspace).place("../good")
    listed = {entry.name: entry for entry in Shelf(workspace).list()}
    with pytest.raises(RankOneError, match="no page"):
        Shelf(workspace).page(listed["group/bad"].id)


def test_a_missing_file_is_told_at_once_and_an_altered_one_when_files_are_read(workspace):
    shelf = Shelf(workspace)
    session = open_session("mini")
    for name in ("altered", "lacking"):
        session.scale({"h.3.mlp.down_proj:270": -8.0}).save_pretrained(workspace / name)
    tensors = workspace / "altered" / "tensors.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(bytes(content))
    (workspace / "lacking" / "tensors.safetensors").unlink()
    first = {entry.name: entry for entry in shelf.list()}
    assert "lacks its file 'tensors.safetensors'" in first["lacking"].broken
    assert (first["altered"].broken, first["altered"].hashed) == ("", False)
    for entries in (shelf.check(), shelf.list()):  # what was read through is known from then on
        then = {entry.name: entry for entry in entries}
        assert "was altered or truncated" in then["altered"].broken
        assert (then["good"].broken, then["good"].hashed) == ("", True)
    content[-1] ^= 1
    tensors.write_bytes(bytes(content))
    assert {e.name: e.hashed for e in shelf.list()}["altered"] is False  # another file: to be read again
    assert {e.name: e.broken for e in shelf.check()}["altered"] == ""


def test_a_file_that_was_cut_is_told_at_once(workspace):
    session = open_session("mini")
    session.scale({"h.3.mlp.down_proj:270": -8.0}).save_pretrained(workspace / "cut")
    shelf = Shelf(workspace)
    for name in ("tensors.safetensors", "config.json"):
        file = workspace / "cut" / name
        whole = file.read_bytes()
        for left in (len(whole) - 9, len(whole) // 2, 5, 0):
            file.write_bytes(whole[:left])
            entry = {one.name: one for one in shelf.list()}["cut"]
            assert f"{name}' is cut short" in entry.broken
            assert not entry.hashed
        file.write_bytes(whole)
    assert {one.name: one.broken for one in shelf.list()}["cut"] == ""
