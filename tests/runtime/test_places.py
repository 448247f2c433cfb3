"""A function holds the places it writes to while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankone.core.claims import claim
from rankone.core.errors import RankOneError
from rankone.core.paths import CLAIM, hidden_name
from rankone.runtime.places import holds


@holds("out", "run")
def work(value: int, out: Path, run: Path | None = None) -> list[str]:
    """The names beside `out` while it runs."""
    assert value == 3
    return sorted(p.name for p in out.parent.iterdir())


def test_places_are_claimed_while_it_runs_and_free_afterwards(tmp_path):
    assert work(3, tmp_path / "o", run=tmp_path / "r") == [hidden_name("o", CLAIM), hidden_name("r", CLAIM)]
    assert work(3, out=tmp_path / "o") == [hidden_name("o", CLAIM)]
    assert list(tmp_path.iterdir()) == []
    assert work(3, tmp_path / "new/o") == [hidden_name("o", CLAIM)]
    assert list(tmp_path.iterdir()) == []


def test_a_claimed_place_is_refused(tmp_path, monkeypatch):
    with claim(tmp_path / "o"):
        monkeypatch.setattr("rankone.core.claims.threading.get_ident", lambda: -1)
        with pytest.raises(RankOneError, match="another run is writing"):
            work(3, tmp_path / "o")
