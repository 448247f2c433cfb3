"""Where published files come from: folders in several arrangements, a Hub repository, a W&B run. No network."""

from __future__ import annotations

import shutil
import sys
import types
from pathlib import Path

import pytest
from tests.decomposition import published as pub

from rankone.core.errors import RankOneError
from rankone.decomposition.importers import source
from rankone.decomposition.importers.files import locate


def names(files):
    return {k: None if v is None else v.name for k, v in vars(files).items()}


def test_the_last_checkpoint_is_taken_and_parts_are_found_anywhere(tmp_path):
    folder = pub.write_run(tmp_path / "run")
    shutil.copy(folder / "model_400000.pth", folder / "model_9000.pth")
    (folder / "target" / "tokenizer.json").write_text("{}")
    assert names(locate(folder)) == {
        "decomposition": "model_400000.pth",
        "config": "final_config.yaml",
        "target": "model_step_99999.pt",
        "model_config": "model_config.yaml",
        "tokenizer": "tokenizer.json",
    }
    assert locate(folder).config == folder / "final_config.yaml"


def test_a_folder_of_several_runs_or_of_none_is_refused(tmp_path):
    pub.write_run(tmp_path / "runs" / "a")
    pub.write_run(tmp_path / "runs" / "b")
    with pytest.raises(RankOneError, match=r"several runs \(a, b\)"):
        locate(tmp_path / "runs")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RankOneError, match=r"neither a decomposition .* it holds nothing"):
        locate(tmp_path / "empty")


def test_the_target_may_lie_elsewhere(tmp_path):
    folder = pub.write_run(tmp_path / "run")
    (folder / "target").rename(tmp_path / "target")
    files = source.open_source(str(folder), str(tmp_path / "target"))
    assert files.decomposition == folder / "model_400000.pth"
    assert files.config == folder / "final_config.yaml"
    assert files.model_config == tmp_path / "target/model_config.yaml"
    with pytest.raises(RankOneError, match="add --target wandb:someone/spd/runs/t-12345678"):
        source.open_source(str(folder))


def test_what_is_nowhere(tmp_path):
    with pytest.raises(RankOneError, match="no published run at"):
        source.open_source(str(tmp_path / "nowhere" / "deep"))
    (tmp_path / "model_1.pth").write_bytes(b"")
    with pytest.raises(RankOneError, match="is a file"):
        source.open_source(str(tmp_path / "model_1.pth"))


def test_a_hub_repository(tmp_path, monkeypatch):
    folder = pub.write_run(tmp_path / "snapshot")
    asked = []

    def download(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert source.open_source("owner/name") == locate(folder)
    ((name, patterns),) = asked
    assert name == "owner/name"
    assert "*.pth" in patterns


def test_a_hub_repository_that_cannot_be_had(monkeypatch):
    def download(name, allow_patterns):
        raise OSError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(RankOneError, match="cannot download the Hub repository 'owner/name': offline"):
        source.open_source("owner/name")


class File:
    """A file of a W&B run: copied from a folder instead of downloaded."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name

    def download(self, root, exist_ok):
        assert exist_ok
        goal = Path(root) / self.name
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.folder / self.name, goal)


def fake_wandb(monkeypatch, runs):
    """A `wandb` module whose API knows the given runs by path."""

    def run(path):
        files = [p.relative_to(runs[path]).as_posix() for p in runs[path].rglob("*") if p.is_file()]
        return types.SimpleNamespace(files=lambda: [File(runs[path], name) for name in files])

    module = types.SimpleNamespace(Api=lambda: types.SimpleNamespace(run=run))
    monkeypatch.setitem(sys.modules, "wandb", module)


@pytest.mark.parametrize(
    "name",
    [
        "wandb:someone/spd/runs/s-87654321",
        "wandb:someone/spd/s-87654321",
        "https://wandb.ai/someone/spd/runs/s-87654321?nw=x",
        "https://wandb.ai/someone/spd/runs/s-87654321/files",
    ],
)
def test_a_run_on_wandb_brings_the_target_it_names(tmp_path, monkeypatch, name):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = pub.write_run(tmp_path / "run")
    (folder / "target").rename(tmp_path / "target")
    (folder / "model_9.pth").write_bytes(b"old")
    (folder / "wandb-summary.json").write_text("{}")
    fake_wandb(
        monkeypatch,
        {"someone/spd/s-87654321": folder, "someone/spd/t-12345678": tmp_path / "target"},
    )
    files = source.open_source(name)
    cache = tmp_path / "cache/rankone/wandb/someone/spd"
    assert files.decomposition == cache / "s-87654321/model_400000.pth"
    assert files.target == cache / "t-12345678/checkpoints/model_step_99999.pt"
    assert sorted(p.name for p in (cache / "s-87654321").iterdir()) == [
        "final_config.yaml",
        "model_400000.pth",
    ]


def test_wandb_without_its_client_or_with_trouble(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(RankOneError, match=r"rankone\[wandb\]"):
        source.open_source("wandb:a/b/runs/c")
    fake_wandb(monkeypatch, {})
    with pytest.raises(RankOneError, match="cannot download the W&B run 'a/b/c'"):
        source.open_source("wandb:a/b/runs/c")
