"""The counter of looks at validation text: by what was asked, and over restarts."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.studio.kept.looks import Looks


def test_it_counts_by_what_was_asked_and_goes_on_after_a_restart(tmp_path):
    looks = Looks(tmp_path / "studio")
    assert [looks.count("preview"), looks.count("edit"), looks.count("preview")] == [1, 2, 3]
    looks.write()
    again = Looks(tmp_path / "studio")
    assert again.state().plain() == {"total": 3, "by": {"preview": 2, "edit": 1}}
    assert again.count("rank") == 4


def test_a_file_that_holds_no_counts_is_named(tmp_path):
    (tmp_path / "looks.json").write_text('{"by": {"preview": "many"}}')
    with pytest.raises(RankOneError, match=r"looks\.json"):
        Looks(tmp_path)


def test_a_place_that_cannot_be_written_takes_no_figure_away(tmp_path, monkeypatch, caplog):
    """A full disk, a mount that became read-only: counting goes on, it is said once, and later all is written down."""
    looks = Looks(tmp_path / "studio")
    monkeypatch.setattr("rankone.studio.kept.looks.REST", -1.0)
    with monkeypatch.context() as full:

        def refused(*_: object) -> None:
            raise OSError(28, "No space left on device")

        full.setattr("rankone.studio.kept.looks.write_json", refused)
        assert [looks.count("preview") for _ in range(3)] == [1, 2, 3]
    assert [r.message for r in caplog.records if "no longer written down" in r.message] == [
        "looks at validation text are counted, but no longer written down: [Errno 28] No space left on device"
    ]
    assert looks.count("preview") == 4
    assert Looks(tmp_path / "studio").total == 4
