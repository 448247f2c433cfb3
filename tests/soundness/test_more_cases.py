"""More cases of the kinds that once failed: re-signed artefacts, hostile recipes, places to write in."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rankone.circuits.transcoders.storage import load_transcoders
from rankone.core.artifact import file_hash, new_artifact, open_artifact, write_json
from rankone.core.errors import RankOneError
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.model import load_decomposition
from rankone.edits.lowrank import LowRankEdit
from rankone.labels.store import Labels
from rankone.models.loading import load_model
from rankone.sharing.results import sealed

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "0.1-3"


def resigned(kind: str, folder: Path, file: str, content: bytes, golden: Path = GOLDEN) -> Path:
    """A golden artefact with one file exchanged, its manifest made anew so that no hash catches it."""
    shutil.copytree(golden / kind, folder)
    (folder / file).write_bytes(content)
    if file != "manifest.json":
        manifest = json.loads((folder / "manifest.json").read_text("utf8"))
        manifest["files"][file] = file_hash(folder / file)
        (folder / "manifest.json").write_text(json.dumps(manifest), "utf8")
    return folder


def changed(artefact: str, file: str, **values: object) -> bytes:
    document = json.loads((GOLDEN / artefact / file).read_text("utf8"))
    return json.dumps({**document, **values}).encode()


def edit_site(**values: object) -> bytes:
    sites = json.loads((GOLDEN / "edit" / "config.json").read_text("utf8"))["sites"]
    first = next(iter(sites))
    return changed("edit", "config.json", sites={**sites, first: {**sites[first], **values}})


MANIFESTS = {
    "empty": b"",
    "a list": b"[]",
    "a BOM": b"\xef\xbb\xbf{}",
    "UTF-16": '{"kind": "edit"}'.encode("utf-16"),
    "no UTF-8": b'{"kind": "\xff"}',
    "deep": b"[" * 100_000,
    "a long number": b'{"schema_version": ' + b"9" * 5000 + b"}",
    "a key twice": b'{"kind": "edit", "kind": "edit"}',
    "an absolute path": changed("edit", "manifest.json", files={"/etc/passwd": "0" * 64}),
    "a path upwards": changed("edit", "manifest.json", files={"../x": "0" * 64}),
    "a path upwards within": changed("edit", "manifest.json", files={"a/../../x": "0" * 64}),
    "a NUL in a name": changed("edit", "manifest.json", files={"a\0b": "0" * 64}),
    "itself": changed("edit", "manifest.json", files={"manifest.json": "0" * 64}),
    "no hash": changed("edit", "manifest.json", files={"config.json": "x"}),
    "a version in words": changed("edit", "manifest.json", schema_version="1"),
    "a version of half": changed("edit", "manifest.json", schema_version=1.5),
    "a version below": changed("edit", "manifest.json", schema_version=-1),
    "a kind that is none": changed("edit", "manifest.json", kind=7),
}
CONFIGS = {
    "a rank below 0": edit_site(rank=-1),
    "a rank of half": edit_site(rank=1.5),
    "another rank": edit_site(rank=9),
    "no width": edit_site(d_out=0),
    "a huge width": edit_site(d_in=10**30),
    "a base of null": edit_site(base_hash=None),
    "more keys": changed("edit", "config.json", extra=1),
    "sites as a list": changed("edit", "config.json", sites=[]),
    "no sites": changed("edit", "config.json", sites={}),
    "NaN": b'{"description": NaN, "method": "", "sites": {}}',
}
TENSORS = {
    "empty": b"",
    "a header longer than the file": struct.pack("<Q", 2**63) + b"{}",
    "a header that is not JSON": struct.pack("<Q", 4) + b"abcd",
    "offsets beyond the end": struct.pack("<Q", 56)
    + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}} ',
    "a type that is none": struct.pack("<Q", 56)
    + b'{"a":{"dtype":"X99","shape":[0],"data_offsets":[0, 0]}} ',
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_manifest_that_is_none(what, tmp_path):
    folder = resigned("edit", tmp_path / "edit", "manifest.json", MANIFESTS[what])
    with pytest.raises(RankOneError, match="edit"):
        LowRankEdit.from_pretrained(folder)


@pytest.mark.parametrize("what", CONFIGS)
def test_a_configuration_that_cannot_be(what, tmp_path):
    folder = resigned("edit", tmp_path / "edit", "config.json", CONFIGS[what])
    with pytest.raises(RankOneError):
        LowRankEdit.from_pretrained(folder)


@pytest.mark.parametrize("what", TENSORS)
def test_tensors_that_are_none(what, tmp_path):
    folder = resigned("edit", tmp_path / "edit", "tensors.safetensors", TENSORS[what])
    with pytest.raises(RankOneError, match=r"tensors\.safetensors"):
        LowRankEdit.from_pretrained(folder)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_table_that_is_none(content, tmp_path):
    folder = resigned("labels", tmp_path / "labels", "labels.parquet", content)
    with pytest.raises(RankOneError, match="labels"):
        Labels.from_pretrained(folder)


def test_a_folder_or_a_pipe_in_the_place_of_a_file(tmp_path):
    for make in (Path.mkdir, os.mkfifo):
        folder = tmp_path / make.__name__
        shutil.copytree(GOLDEN / "edit", folder)
        (folder / "config.json").unlink()
        make(folder / "config.json")
        with pytest.raises(RankOneError, match=r"lacks its file 'config.json'"):
            open_artifact(folder)


RECIPES = {
    "objects": "!!python/object/apply:os.system ['true']",
    "an alias that is not there": "steps: *nothing",
    "a bomb": "a: &a [x, x]\n"
    + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "infinity": "steps: .inf",
    "not a number": "steps: .nan",
    "a number in words": "steps: many",
    "a truth": "steps: true",
    "below 0": "steps: -3",
    "a list": "- steps: 3",
    "two documents": "steps: 3\n---\nsteps: 4\n",
    "deep": "a: " + "[" * 2000,
    "a key that is a list": "? [a]\n: 1\n",
    "a date": "steps: 2026-01-01",
    "no text": "mixture: {}",
}


@pytest.mark.parametrize("what", RECIPES)
def test_a_recipe_that_cannot_be(what, tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPES[what], "utf8")
    with pytest.raises(RankOneError):
        DecomposeConfig.from_yaml(tmp_path / "r.yaml")


def made(path: Path) -> None:
    with new_artifact(path, "thing") as staging:
        write_json(staging / "a.json", {})


def test_places_that_cannot_be_written_to_are_left_as_they_are(tmp_path):
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x", "utf8")
    for path in (dangling, tmp_path / "file" / "below", tmp_path / ("n" * 300), tmp_path / "a\0b"):
        with pytest.raises(RankOneError):
            made(path)
    assert dangling.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dangling", "file"]


def test_results_with_a_link_out_of_their_folder_are_not_sent(tmp_path):
    (tmp_path / "secret").write_text("key", "utf8")
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "summary.json").write_text("{}", "utf8")
    (tmp_path / "job" / "more.json").symlink_to(tmp_path / "secret")
    with pytest.raises(RankOneError, match=r"'more.json' in .* is a link"):
        sealed(tmp_path / "job")


def transcoders(folder: Path, change: Callable[[dict[str, Any]], None]) -> RankOneError:
    """What is said of golden transcoders whose configuration was changed and signed."""
    golden = GOLDEN.with_name("0.1-4")
    document = json.loads((golden / "transcoders" / "config.json").read_text("utf8"))
    change(document)
    content = json.dumps(document).encode()
    path = resigned("transcoders", folder / "transcoders", "config.json", content, golden)
    with pytest.raises(RankOneError) as refused:
        load_transcoders(path, load_model(golden / "model"))
    return refused.value


def test_transcoders_are_not_made_before_their_files_were_looked_at(tmp_path):
    """A width of 10¹² would take the memory first."""
    huge = transcoders(tmp_path / "a", lambda d: d["coders"][0]["coder"].update(latents=10**12))
    assert "no file" in str(huge) or "cannot read tensors" in str(huge)
    layers = transcoders(tmp_path / "b", lambda d: d.update(layers=10**9))
    assert "has 1000000000 layers of width 8, and its model has 1 of 8" in str(layers)
    twice = transcoders(tmp_path / "c", lambda d: d.update(coders=d["coders"][:1] * 2))
    assert "lists a transcoder twice" in str(twice)


@pytest.mark.parametrize("sizes", [{"blocks": 10**6}, {"hidden": 10**12}, {"width": 2**40}])
def test_an_importance_function_is_not_made_before_its_files_were_looked_at(sizes, tmp_path):
    golden = GOLDEN.with_name("0.1-4")
    kind = next(path.name for path in sorted(golden.iterdir()) if path.name.startswith("decomposition"))
    document = json.loads((golden / kind / "config.json").read_text("utf8"))
    document["importance"].update(sizes)
    path = resigned(kind, tmp_path / "made", "config.json", json.dumps(document).encode(), golden)
    with pytest.raises(RankOneError, match=r"states an importance function of .* and stores"):
        load_decomposition(path, load_model(golden / "model"))
