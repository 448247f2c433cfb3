"""Names looked up in a harvest's table: one that is not counted is refused, what may be a member is left to the opening."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankone.core.errors import RankOneError
from rankone.harvest.reading import listed
from rankone.harvest.reading.listed import require_counted

FOLDER = Path("harvest")


@pytest.mark.parametrize(
    ("counted", "name"),
    [
        (["h.0.q:1"], "h.0.q:1"),
        (["c0"], "c0"),
        (["c0"], "h.0.q:1"),  # a member, perhaps
        ([], "h.0.q:1"),  # the table cannot be read
    ],
)
def test_passed_on(monkeypatch, counted, name):
    monkeypatch.setattr(listed, "column_of", lambda *_: counted)
    require_counted(FOLDER, name)


@pytest.mark.parametrize(
    ("counted", "name", "said"),
    [
        (["h.0.q:1"], "h.0.q:2", "'h.0.q:2' is not in the harvest 'harvest'. Nearest: h.0.q:1"),
        (["h.0.q:1"], "c0", "it counts subcomponents"),
        (["c0"], "c1", "Nearest: c0"),
    ],
)
def test_refused(monkeypatch, counted, name, said):
    monkeypatch.setattr(listed, "column_of", lambda *_: counted)
    with pytest.raises(RankOneError, match=said):
        require_counted(FOLDER, name)
