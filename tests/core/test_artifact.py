"""Artefacts appear whole or not at all, and are checked before use."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import torch

from rankone.core.artifact import (
    MANIFEST,
    atomic_file,
    copy_artifact,
    file_hash,
    new_artifact,
    open_artifact,
    read_json,
    read_manifest,
    refuse_existing,
    remove_artifact,
    write_json,
    write_text,
)
from rankone.core.errors import RankOneError
from rankone.core.tensors import save_tensors

WRITER = """
import sys, time
from pathlib import Path
from rankone.core.artifact import new_artifact
with new_artifact(sys.argv[1], "thing", replace=sys.argv[2] == "replace") as staging:
    (staging / "a.txt").write_text("half of the new one")
    print("writing", flush=True)
    time.sleep(60)
"""


def make(path, text="old", kind="thing", replace=False):
    with new_artifact(path, kind, {"seed": 3}, replace) as staging:
        (staging / "a.txt").write_text(text, "utf8")
        (staging / "sub").mkdir()
        save_tensors(staging / "sub/t.safetensors", {"w": torch.arange(6.0).view(2, 3).T})
    return path


def kill_in_the_middle_of_writing(path, mode):
    """Start a real process that writes an artefact, and SIGKILL it inside the block."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), mode], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        writer.kill()
        assert writer.wait() == -signal.SIGKILL


def test_a_copy_is_the_artefact_once_more(tmp_path):
    with new_artifact(tmp_path / "x", "thing") as staging:
        (staging / "sub").mkdir()
        for name in ("a.txt", "sub/b.txt", "sub/c.txt"):
            (staging / name).write_text(name, "utf8")
    artifact = open_artifact(tmp_path / "x", "thing")
    again = open_artifact(copy_artifact(artifact, tmp_path / "deep/y"), "thing")
    assert again.manifest_bytes() == artifact.manifest_bytes()
    assert (again.path / "sub/c.txt").read_text("utf8") == "sub/c.txt"
    (artifact.path / "a.txt").write_text("altered", "utf8")
    with pytest.raises(RankOneError, match=r"a\.txt"):
        copy_artifact(artifact, tmp_path / "z")
    assert not (tmp_path / "z").exists()


def test_round_trip(tmp_path):
    artifact = open_artifact(make(tmp_path / "x"), "thing")
    assert (artifact.path / "a.txt").read_text("utf8") == "old"
    assert torch.equal(artifact.tensors("sub/t.safetensors")["w"], torch.arange(6.0).view(2, 3).T)
    assert read_manifest(artifact.path) == artifact.manifest
    assert set(artifact.manifest.files) == {"a.txt", "sub/t.safetensors"}
    provenance = artifact.provenance
    assert provenance["seed"] == 3
    assert provenance["versions"]["torch"] == torch.__version__
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_fingerprint_is_equal_exactly_when_contents_are(tmp_path):
    a, b, c = (
        open_artifact(make(tmp_path / n, t)) for n, t in (("a", "same"), ("b", "same"), ("c", "other"))
    )
    assert a.fingerprint == b.fingerprint != c.fingerprint


def test_a_kill_leaves_nothing_under_a_new_name(tmp_path):
    kill_in_the_middle_of_writing(tmp_path / "x", "new")
    assert not (tmp_path / "x").exists()
    with pytest.raises(RankOneError, match=r"no artefact at '.*/x': not a directory"):
        open_artifact(tmp_path / "x")
    assert make(tmp_path / "x", "second try").is_dir()


def test_a_kill_leaves_the_old_artefact_whole(tmp_path):
    make(tmp_path / "x")
    kill_in_the_middle_of_writing(tmp_path / "x", "replace")
    assert (open_artifact(tmp_path / "x", "thing").path / "a.txt").read_text("utf8") == "old"
    make(tmp_path / "x", "new", replace=True)
    assert (open_artifact(tmp_path / "x").path / "a.txt").read_text("utf8") == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_nothing_behind(tmp_path, error):
    def write_half():
        with new_artifact(tmp_path / "x", "thing") as staging:
            (staging / "a.txt").write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_replace_exchanges_only_the_same_kind(tmp_path):
    make(tmp_path / "x")
    make(tmp_path / "x", "new", replace=True)
    assert (tmp_path / "x/a.txt").read_text("utf8") == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    with pytest.raises(RankOneError, match=r"x' is of kind 'thing', but 'model' is needed here"):
        make(tmp_path / "x", kind="model", replace=True)
    assert (tmp_path / "x/a.txt").read_text("utf8") == "new"


def test_existing_output_is_refused(tmp_path):
    make(tmp_path / "x")
    with pytest.raises(RankOneError, match=r"output '.*/x' already exists\. Choose another name"):
        make(tmp_path / "x", "new")
    assert (tmp_path / "x/a.txt").read_text("utf8") == "old"
    with pytest.raises(RankOneError, match="already exists"):
        refuse_existing(tmp_path)


@pytest.mark.parametrize("name", ["a.txt", "sub/t.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_damage_to_any_file_is_found_and_named(tmp_path, name, damage):
    file = make(tmp_path / "x") / name
    data = bytearray(file.read_bytes())
    if damage == "altered":
        data[-1] ^= 1
    file.write_bytes(data if damage == "altered" else data[:-1])
    with pytest.raises(
        RankOneError, match=rf"{name}' was altered or truncated: its hash is .*, the manifest says"
    ):
        open_artifact(tmp_path / "x")


def test_a_lacking_file_is_named(tmp_path):
    (make(tmp_path / "x") / "a.txt").unlink()
    with pytest.raises(RankOneError, match=r"x' lacks its file 'a\.txt'\. Restore"):
        open_artifact(tmp_path / "x")


def test_wrong_kind(tmp_path):
    with pytest.raises(RankOneError, match=r"x' is of kind 'thing', but 'harvest' is needed here"):
        open_artifact(make(tmp_path / "x"), "harvest")


def test_wrong_schema(tmp_path):
    path = make(tmp_path / "x") / MANIFEST
    write_json(path, {**json.loads(path.read_text("utf8")), "schema_version": 99})
    with pytest.raises(
        RankOneError, match=r"has schema version 99; this RankOne reads versions up to 1 of its kind"
    ):
        open_artifact(tmp_path / "x")


def test_missing_manifest(tmp_path):
    (make(tmp_path / "x") / MANIFEST).unlink()
    with pytest.raises(RankOneError, match=r"x' has no manifest\.json: it is not a RankOne artefact"):
        open_artifact(tmp_path / "x")


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}", b"\xff\xfe", b'{"kind": "thing", "files": {}}'])
def test_damaged_manifest(tmp_path, data):
    (make(tmp_path / "x") / MANIFEST).write_bytes(data)
    with pytest.raises(RankOneError, match=r"x/manifest\.json' is damaged .*Restore the artefact"):
        open_artifact(tmp_path / "x")


def test_hashes_of_known_bytes(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert file_hash(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_text_is_written_whole_or_not_at_all(tmp_path):
    write_text(tmp_path / "new/a.txt", "ä")
    assert (tmp_path / "new/a.txt").read_bytes() == "ä".encode()
    with pytest.raises(RankOneError, match="half of a surrogate pair"):
        write_text(tmp_path / "new/a.txt", "half \ud800")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.txt"]
    assert (tmp_path / "new/a.txt").read_text("utf8") == "ä"


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x", "utf8")
    with pytest.raises(RankOneError, match="file' is a file: nothing can be written below it"):
        refuse_existing(tmp_path / "file" / "deep" / "out")
    refuse_existing(tmp_path / "new" / "deep" / "out")
    monkeypatch.setattr("rankone.core.files.os.access", lambda *_: False)
    with pytest.raises(RankOneError, match=f"'{tmp_path}' cannot be written in"):
        refuse_existing(tmp_path / "new" / "deep" / "out")


def test_json_is_read_or_named(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    assert read_json(tmp_path / "a.json") == {"a": 1}
    (tmp_path / "cut.json").write_text('{"a": ', "utf8")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    for name, complaint in (("none", "no file"), ("cut", "cannot read JSON"), ("bytes", "cannot read JSON")):
        with pytest.raises(RankOneError, match=f"{complaint}.*{name}.json"):
            read_json(tmp_path / f"{name}.json")
    with pytest.raises(RankOneError, match=r"a.json' must hold a JSON list"):
        read_json(tmp_path / "a.json", list)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    def cut_off():
        with atomic_file(tmp_path / "a") as stream:
            stream.write(b"new")
            raise KeyboardInterrupt

    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        cut_off()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def resigned(path, files):
    """The artefact at `path` with these files in its manifest."""
    manifest = json.loads((path / MANIFEST).read_text("utf8"))
    write_json(path / MANIFEST, {**manifest, "files": files(manifest["files"])})
    return path


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (lambda _: {}, "files: must have at least 1 item"),
        (lambda f: {"a.txt": f["a.txt"]}, r"holds 'sub/t\.safetensors', which its manifest does not list"),
        (lambda f: {**f, "a.txt": None}, r"files\.a\.txt: must be a valid string"),
        (lambda f: {**f, "a.txt": "abc"}, "files.a.txt: String should match pattern"),
        (lambda f: {**f, "../b": f["a.txt"]}, r"'\.\./b' is not a file inside the artefact"),
        (lambda f: {**f, "/etc/passwd": f["a.txt"]}, "is not a file inside the artefact"),
        (lambda f: {**f, "C:b": f["a.txt"]}, "'C:b' is not a file inside the artefact"),
        (lambda f: [*f], "files: must be `key: value` pairs"),
    ],
)
def test_a_manifest_made_anew_that_lists_other_files_is_refused(tmp_path, files, message):
    path = resigned(make(tmp_path / "x"), files)
    with pytest.raises(RankOneError, match=message):
        open_artifact(path)


def test_a_file_that_the_manifest_does_not_list_is_refused_by_name(tmp_path):
    path = make(tmp_path / "x")
    (path / ".gitattributes").write_text("x", "utf8")
    open_artifact(path)
    (path / "notes.md").write_text("x", "utf8")
    with pytest.raises(RankOneError, match=r"holds 'notes\.md', which its manifest does not list"):
        open_artifact(path)
    with pytest.raises(RankOneError, match=r"lacks its file 'config\.json'"):
        open_artifact(make(tmp_path / "y")).json()


def test_bytecode_of_listed_code_is_no_other_file(tmp_path):
    """What pip writes when it installs a wheel that holds an artefact with code; of other code it is refused."""
    with new_artifact(tmp_path / "x", "thing") as staging:
        (staging / "code.py").write_text("x = 1", "utf8")
    cache = tmp_path / "x" / "__pycache__"
    cache.mkdir()
    (cache / "code.cpython-313.pyc").write_bytes(b"")
    assert open_artifact(tmp_path / "x").manifest.files.keys() == {"code.py"}
    (cache / "other.cpython-313.pyc").write_bytes(b"")
    with pytest.raises(RankOneError, match=r"holds '__pycache__/other\.cpython-313\.pyc'"):
        open_artifact(tmp_path / "x")


def test_a_key_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"a": {"b": 1, "c": 2, "b": 3}}', "utf8")
    with pytest.raises(RankOneError, match=r"a\.json' \(the key 'b' stands there twice\)"):
        read_json(tmp_path / "a.json")
    (tmp_path / "deep.json").write_text('{"a": ' + "[" * 100_000, "utf8")
    with pytest.raises(RankOneError, match="nests too deep"):
        read_json(tmp_path / "deep.json")


def test_tensors_that_are_not_finite_are_refused_by_name(tmp_path):
    with new_artifact(tmp_path / "x", "thing") as staging:
        save_tensors(staging / "tensors.safetensors", {"a": torch.ones(2), "b": torch.tensor([1, torch.nan])})
    with pytest.raises(RankOneError, match=r"tensor 'b' of .* holds NaN or infinity \(1 of 2 values\)"):
        open_artifact(tmp_path / "x").tensors()


@pytest.mark.parametrize("appears", ["folder", "empty folder", "file"])
def test_what_appears_at_the_output_during_the_work_is_never_deleted(tmp_path, appears):
    path = tmp_path / "x"

    def work():
        with new_artifact(path, "thing") as staging:
            (staging / "a.txt").write_text("made", "utf8")
            if appears == "file":
                path.write_text("mine", "utf8")
            else:
                path.mkdir()
            if appears == "folder":
                (path / "notes.md").write_text("mine", "utf8")

    with pytest.raises(RankOneError, match=r"something else has appeared at .* left as it is"):
        work()
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    if appears != "empty folder":
        assert (path if appears == "file" else path / "notes.md").read_text("utf8") == "mine"


def test_an_exchange_refuses_what_it_did_not_find_at_its_start(tmp_path):
    path = make(tmp_path / "x")

    def work():
        with new_artifact(path, "thing", replace=True) as staging:
            (staging / "a.txt").write_text("made", "utf8")
            path.rename(tmp_path / "before")
            make(tmp_path / "other", "of somebody else").rename(path)

    with pytest.raises(RankOneError, match="something else has appeared"):
        work()
    assert (path / "a.txt").read_text("utf8") == "of somebody else"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["before", "x"]


def test_an_exchange_keeps_what_somebody_else_put_there(tmp_path):
    """Hidden files are allowed beside an artefact's own; others stop the exchange."""
    path = make(tmp_path / "x")
    (path / ".git").mkdir()
    (path / ".git/HEAD").write_text("mine", "utf8")
    (path / ".notes").write_text("mine", "utf8")
    make(path, "new", replace=True)
    assert (path / "a.txt").read_text("utf8") == "new"
    assert {(path / name).read_text("utf8") for name in (".git/HEAD", ".notes")} == {"mine"}

    def work():
        with new_artifact(path, "thing", replace=True):
            (path / "notes.md").write_text("mine", "utf8")

    with pytest.raises(RankOneError, match=r"x' holds 'notes.md', which its manifest does not list"):
        work()
    assert (path / "notes.md").read_text("utf8") == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_an_artefact_is_removed_without_what_is_not_its_own(tmp_path):
    path = make(tmp_path / "x")
    remove_artifact(path, "thing")
    assert not path.exists()
    make(path)
    (path / "sub/notes.md").write_text("mine", "utf8")
    with pytest.raises(RankOneError, match="is of kind 'thing'"):
        remove_artifact(path, "model")
    remove_artifact(path, "thing")
    assert [p.name for p in path.rglob("*") if p.is_file()] == ["notes.md"]
    with pytest.raises(RankOneError, match="it is not a RankOne artefact"):
        remove_artifact(path, "thing")


def test_json_that_others_cannot_read_is_written_only_where_a_record_says_so(tmp_path):
    for value in (float("nan"), -float("inf")):
        with pytest.raises(RankOneError, match=r"cannot write '.*/a\.json': it would hold NaN or infinity"):
            write_json(tmp_path / "a.json", {"deep": [value]})
    assert list(tmp_path.iterdir()) == []
    write_json(tmp_path / "a.json", {"loss": float("inf")}, constants=True)
    assert json.loads((tmp_path / "a.json").read_text("utf8")) == {"loss": float("inf")}


def test_provenance_that_no_reader_takes_is_not_written(tmp_path):
    """A manifest with NaN was written, and then refused as damaged by every reader."""
    with (
        pytest.raises(RankOneError, match="NaN or infinity"),
        new_artifact(tmp_path / "edit", "edit", {"measured": [{"rise": float("nan")}]}) as staging,
    ):
        (staging / "config.json").write_text("{}")
    assert list(tmp_path.iterdir()) == []
