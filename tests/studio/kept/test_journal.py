"""The journal: only added to, undo and redo as lines, two pages, kills."""

from __future__ import annotations

import json

import pytest

from rankone.core.errors import RankOneError
from rankone.studio.kept.journal import FILE, Journal
from rankone.studio.kept.lines import Conflict

A, B = {"a:1": -8.0}, {"b:2": 0.0}


def test_undo_and_redo_walk_through_what_was_kept(tmp_path):
    journal = Journal(tmp_path / "studio")
    journal.add(A, "first", 0)
    journal.add(B, "", 1)
    assert journal.state().current == 2
    journal.undo(2)
    assert journal.state().current == 1
    journal.undo(3)
    state = journal.state()
    assert (state.current, state.can_undo, state.can_redo) == (None, False, True)
    assert state.undone == (1, 2)
    journal.redo(4)
    assert journal.state().current == 1
    journal.add(B, "again", 5)
    assert (journal.state().current, journal.state().can_redo) == (6, False)
    assert journal.state().undone == (2,)  # that it was kept earlier than what stands does not make it stand
    lines = [json.loads(line) for line in (tmp_path / "studio" / FILE).read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["set", "set", "undo", "undo", "redo", "set"]


def test_it_is_the_same_when_read_again(tmp_path):
    journal = Journal(tmp_path / "studio")
    journal.add(A, "first", 0)
    journal.undo(1)
    assert Journal(tmp_path / "studio").state() == journal.state()
    assert Journal(tmp_path / "studio").kept(1).scales == A


def test_nothing_to_undo_or_redo_is_said_and_writes_nothing(tmp_path):
    journal = Journal(tmp_path / "studio")
    with pytest.raises(RankOneError, match="nothing to undo"):
        journal.undo(0)
    with pytest.raises(RankOneError, match="nothing to redo"):
        journal.redo(0)
    assert not (tmp_path / "studio").exists()


def test_a_page_that_has_not_seen_the_last_line_is_refused(tmp_path):
    journal = Journal(tmp_path / "studio")
    journal.add(A, "", 0)
    with pytest.raises(Conflict, match="another page"):
        journal.add(B, "", 0)
    assert journal.last == 1


def test_half_a_line_of_a_killed_writer_is_left_out_and_then_gone(tmp_path):
    journal = Journal(tmp_path / "studio")
    journal.add(A, "", 0)
    with journal.path.open("a") as file:
        file.write('{"seq": 2, "kin')
    again = Journal(tmp_path / "studio")
    assert again.last == 1
    again.add(B, "", 1)
    assert Journal(tmp_path / "studio").kept(2).scales == B


def test_a_line_that_is_no_entry_is_named(tmp_path):
    Journal(tmp_path / "studio").add(A, "", 0)
    path = tmp_path / "studio" / FILE
    path.write_text("garbage\n" + path.read_text())
    with pytest.raises(RankOneError, match="line 1 of"):
        Journal(tmp_path / "studio")


def test_an_undone_edit_can_still_be_taken_by_its_number(tmp_path):
    journal = Journal(tmp_path / "studio")
    journal.add(A, "", 0)
    journal.undo(1)
    assert journal.kept(1).scales == A
    with pytest.raises(RankOneError, match="no edit 2"):
        journal.kept(2)


def test_what_hides_in_a_name_is_written_as_a_sign(tmp_path):
    assert (
        Journal(tmp_path / "studio")
        .add({"h.0:1": 0.0}, "a\u202eb\0" * 100, 0)
        .name.startswith(r"a\u{202e}b\x00a")
    )


def test_a_workspace_that_is_gone_is_one_line(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    journal = Journal(folder / "studio")
    folder.rmdir()
    with pytest.raises(RankOneError, match="journal"):
        journal.add(A, "first", 0)
    assert not folder.exists()
    assert journal.state().current is None
