"""What stands for a repository, and what for a path."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.sharing.names import Remote, remote


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("me/thing", Remote("me/thing")),
        ("me/thing@v1", Remote("me/thing", "v1")),
        ("https://huggingface.co/me/thing", Remote("me/thing")),
        ("https://huggingface.co/me/thing/tree/abc", Remote("me/thing", "abc")),
        ("https:/huggingface.co/me/thing/", Remote("me/thing")),
        ("runs", None),
        ("./runs/edit", None),
        ("runs/de/edit", None),
    ],
)
def test_names(name, meant):
    assert remote(name) == meant


def test_what_lies_here_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "edit").mkdir(parents=True)
    assert remote("runs/edit") is None
    assert remote("runs/edti") is None  # a slip in a folder that is here


@pytest.mark.parametrize("name", ["https://example.org/me/thing", "https://huggingface.co/me"])
def test_other_addresses_are_refused(name):
    with pytest.raises(RankOneError, match=r"is not (an address on|the address of)"):
        remote(name)
