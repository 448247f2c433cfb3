"""A Hub on this machine."""

from __future__ import annotations

import pytest
from huggingface_hub import constants
from tests.sharing.fake_hub import TOKEN, FakeHub

from rankone.runtime import hub as reach


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub in reach, a token, and an empty cache."""
    made = FakeHub()
    for name, value in {
        "ENDPOINT": made.address,
        "HUGGINGFACE_CO_URL_TEMPLATE": made.address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": True,
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", made.address)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    reach.reachable.cache_clear()
    yield made
    made.close()
    reach.reachable.cache_clear()
