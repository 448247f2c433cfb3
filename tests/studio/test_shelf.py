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
