"""What a model's name stands for."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.models.sources import names
from rankone.models.sources.names import resolve


def test_names_resolve_without_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(names, "ASSETS", tmp_path / "assets")
    with pytest.raises(RankOneError, match="built-in model 'mini' is missing"):
        resolve("mini")
    (tmp_path / "assets" / "mini").mkdir(parents=True)
    assert resolve("mini") == tmp_path / "assets" / "mini"
    assert resolve("owner/model") == "owner/model"
    with pytest.raises(RankOneError, match="no model directory"):
        resolve("assets/minii")
    with pytest.raises(RankOneError, match="Nearest: mini"):
        resolve("./minii")


def test_a_gguf_folder_is_told_what_to_do(tmp_path):
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    with pytest.raises(
        RankOneError, match=r"GGUF file \('small.gguf'\).*gguf_file='small.gguf'\).save_pretrained"
    ):
        resolve(tmp_path)
