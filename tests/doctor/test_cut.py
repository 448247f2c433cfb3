"""Files that end too early are told by their headers, and none that is whole is called cut."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from rankone.core.errors import RankOneError
from rankone.core.manifest import Manifest
from rankone.doctor.cut import require_whole

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def _write(folder: Path, name: str) -> None:
    if name.endswith("safetensors"):
        save_file({"a": torch.arange(40.0), "b": torch.zeros(3)}, folder / name)
    elif name.endswith("parquet"):
        pq.write_table(pa.table({"a": list(range(50))}), folder / name)
    elif name.endswith("npy"):
        np.save(folder / name, np.arange(30, dtype=np.uint16))
    else:
        (folder / name).write_text('{"a": [1, {"b": 2}]}\n')


@pytest.mark.parametrize("name", ["a.safetensors", "a.parquet", "a.npy", "a.json"])
def test_every_cut_of_the_last_half_is_seen(tmp_path, name):
    _write(tmp_path, name)
    whole = (tmp_path / name).read_bytes()
    manifest = Manifest(kind="x", schema_version=1, files={name: hashlib.sha256(whole).hexdigest()})
    require_whole(tmp_path, manifest)
    ends = [left for left in range(len(whole) // 2, len(whole)) if whole[:left].rstrip()[-1:] not in b"}]"]
    lefts = ends if name.endswith("json") else range(len(whole) // 2, len(whole))
    for left in lefts:
        (tmp_path / name).write_bytes(whole[:left])
        with pytest.raises(RankOneError, match=f"{name}' is cut short"):
            require_whole(tmp_path, manifest)


def test_what_is_meant_to_be_empty_is_whole(tmp_path):
    (tmp_path / "a.json").write_bytes(b"")
    require_whole(
        tmp_path, Manifest(kind="x", schema_version=1, files={"a.json": hashlib.sha256().hexdigest()})
    )


def test_a_header_of_nonsense_is_told_and_nothing_else_breaks(tmp_path):
    for name, content in (("a.safetensors", b"\xff" * 40), ("b.npy", b"\x93NUMPY\x01\0\5\0{}   ")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RankOneError, match="header is incomplete"):
            require_whole(tmp_path, Manifest(kind="x", schema_version=1, files={name: "0" * 64}))


def test_artefacts_of_every_kind_are_whole():
    folders = [file.parent for file in GOLDEN.rglob("manifest.json")]
    assert len(folders) > 30
    for folder in folders:
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_text("utf8"))
        require_whole(folder, manifest)
