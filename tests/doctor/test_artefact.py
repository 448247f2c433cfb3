"""Every kind of golden artefact is well beside its model; altered, cut or misplaced ones are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.helpers import simple_mlp

from rankone.core.artifact import file_hash
from rankone.doctor.artefact import check_artefact
from rankone.doctor.checkup import check

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "0.1-4"
# The golden adapter's configuration is a stub that PEFT does not load.
LEFT_OUT = ("model", "adapter")
KINDS = sorted(p.parent.name for p in GOLDEN.glob("*/manifest.json") if p.parent.name not in LEFT_OUT)


def statuses(path, model=None):
    return {f.check: f.status for f in check_artefact(path, model)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_well_beside_its_model(kind):
    found = statuses(GOLDEN / kind, str(GOLDEN / "model"))
    assert "wrong" not in found.values(), list(check_artefact(GOLDEN / kind, str(GOLDEN / "model")))
    assert found["content"] == "ok"


def test_another_model_is_wrong(tmp_path, tokenizer):
    simple_mlp(seed=5).save_pretrained(tmp_path / "other")
    for kind in ("edit", "parts", "harvest", "components", "graph", "transcoders", "decomposition-float32"):
        assert statuses(GOLDEN / kind, str(tmp_path / "other"))["model"] == "wrong", kind


def test_a_model_that_is_not_here_is_a_note():
    (line,) = [f for f in check_artefact(GOLDEN / "decomposition-int8") if f.check == "model"]
    assert (line.status, line.mend) == ("note", "Check it beside its model: --model NAME.")


def test_an_altered_file_is_wrong_and_named(tmp_path):
    shutil.copytree(GOLDEN / "edit", tmp_path / "edit")
    (tmp_path / "edit" / "config.json").write_text("{}", "utf8")
    (line,) = [f for f in check_artefact(tmp_path / "edit") if f.status == "wrong"]
    assert line.check == "files"
    assert "config.json" in line.said


@pytest.mark.parametrize(("kind", "file"), [("labels", "labels.parquet"), ("harvest", "tokens.npy")])
def test_a_signed_file_that_cannot_be_read_is_wrong(tmp_path, kind, file):
    folder = shutil.copytree(GOLDEN / kind, tmp_path / kind)
    (folder / file).write_bytes(b"PAR1 no table")
    signed(folder, {file: file_hash(folder / file)})
    (line,) = [f for f in check_artefact(folder) if f.status == "wrong"]
    assert line.check == "files"
    assert file in line.said


def test_a_graph_says_whether_it_was_verified(tmp_path):
    graph = shutil.copytree(GOLDEN / "graph", tmp_path / "graph")
    assert said_of(graph).endswith(" nodes, verified")
    (graph / "verification.json").unlink()
    signed(graph, {}, without="verification.json")
    assert said_of(graph).endswith(" nodes, not verified")


def said_of(folder):
    (line,) = [f for f in check_artefact(folder) if f.check == "content"]
    return line.said


def signed(folder, hashes, without=None):
    """The manifest with other hashes, and without a file."""
    manifest = json.loads((folder / "manifest.json").read_text("utf8"))
    manifest["files"] = {k: v for k, v in (manifest["files"] | hashes).items() if k != without}
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf8")


def test_a_model_folder_is_checked_as_artefact_and_as_model(corpus):
    found = [f.check for f in check(str(GOLDEN / "model"), None, corpus, 5)]
    assert found[0] == "manifest"
    assert "causal" in found


def test_a_model_of_a_name_past_any_paths_is_a_note(tmp_path):
    folder = shutil.copytree(GOLDEN / "decomposition-int8", tmp_path / "decomposition")
    config = json.loads((folder / "config.json").read_text("utf8"))
    config["target"]["name"] = "x" * 300
    (folder / "config.json").write_text(json.dumps(config), "utf8")
    manifest = json.loads((folder / "manifest.json").read_text("utf8"))
    manifest["files"]["config.json"] = file_hash(folder / "config.json")
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf8")
    assert statuses(folder)["model"] == "note"
