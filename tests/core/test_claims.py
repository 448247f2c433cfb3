"""Of two writers to one place the second is refused at its start; what a killed one left is cleared away."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading

import pytest

from rankone.core.artifact import claimed, new_artifact
from rankone.core.claims import claim, clean, leftovers, retired, scratch_folder
from rankone.core.errors import RankOneError
from rankone.core.paths import hidden_name, read_hidden

HOLDER = """
import sys, time
from pathlib import Path
from rankone.core.claims import claim, scratch_folder
path = Path(sys.argv[1])
with claim(path), scratch_folder(path) as folder:
    (folder / "half").write_text("x")
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that writes to OUT; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def make(path):
    with new_artifact(path, "thing") as staging:
        (staging / "a.txt").write_text("made", "utf8")


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def said(path):
    return read_hidden(path.name)


def test_another_process_is_refused_until_the_first_is_gone(tmp_path, holder):
    with pytest.raises(RankOneError, match=r"another run is writing to '.*/out'\. Wait"):
        make(tmp_path / "out")
    make(tmp_path / "beside")
    assert clean(tmp_path) == []
    assert len(names(tmp_path)) == 3
    holder.kill()
    holder.wait()
    assert len(names(tmp_path)) == 3
    make(tmp_path / "out")
    assert names(tmp_path) == ["beside", "out"]


def test_clean_removes_what_killed_writers_left_and_nothing_else(tmp_path, holder):
    holder.kill()
    holder.wait()
    deep = tmp_path / "deep"
    make(deep / "kept")
    (deep / "kept" / ".hidden.txt").write_text("x", "utf8")
    aside = retired(deep / "exchanged")
    make(aside)
    removed = clean(tmp_path)
    assert sorted(map(said, removed)) == [("exchanged", "old"), ("out", "claim"), ("out", "partial")]
    assert names(tmp_path) == ["deep"]
    assert names(deep) == ["exchanged", "kept"]
    assert names(deep / "kept") == [".hidden.txt", "a.txt", "manifest.json"]
    assert (deep / "exchanged/a.txt").read_text("utf8") == "made"


def test_claims_nest_in_a_thread_and_not_across_threads(tmp_path):
    path, said = tmp_path / "out", []

    def other():
        try:
            make(path)
        except RankOneError as error:
            said.append(str(error))

    with claim(path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        make(path)
    assert len(said) == 1
    assert "another run is writing" in said[0]
    assert names(tmp_path) == ["out"]


def test_a_folder_removed_during_the_work_is_said(tmp_path):
    def work():
        with claimed(tmp_path / "deep/out") as path:
            shutil.rmtree(tmp_path / "deep")
            make(path)

    with pytest.raises(RankOneError, match=r"'.*/deep' was removed or replaced while 'out' was being made"):
        work()


def test_names_with_special_characters(tmp_path):
    path = tmp_path / "a[b]*"
    with claim(path), scratch_folder(path):
        pass
    assert names(tmp_path) == []


def test_a_scratch_folder_that_is_gone_at_its_end_is_no_error(tmp_path):
    path = tmp_path / "out"
    with claim(path), scratch_folder(path) as folder:
        folder.rmdir()
    assert names(tmp_path) == []


def test_leftovers_are_listed_without_touching_them(tmp_path, holder):
    assert leftovers(tmp_path) == []
    holder.kill()
    holder.wait()
    before = names(tmp_path)
    assert sorted(map(said, leftovers(tmp_path))) == [("out", "claim"), ("out", "partial")]
    assert names(tmp_path) == before
    assert clean(tmp_path) != []
    assert leftovers(tmp_path) == []


WRITER = """
import sys, time
from pathlib import Path
from rankone.core.files import atomic_file
with atomic_file(Path(sys.argv[1])) as stream:
    print("open", flush=True)
    time.sleep(60)
"""


def test_a_file_that_a_living_process_writes_is_no_leftover(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "a.json")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        assert (leftovers(tmp_path), clean(tmp_path)) == ([], [])
        assert len(names(tmp_path)) == 1
        process.kill()
        process.wait()
    assert leftovers(tmp_path) == clean(tmp_path) != []
    assert names(tmp_path) == []


LIKE_OURS = (
    ".out.old-20260101",
    ".out.partial-q1_2026_",
    ".out.partial-abcdefgh",
    ".out.claim",
    ".insurance.claim",
    ".bashrc.old-20260102",
    ".out.rankone-partial-0123456789abcdef",
    ".out.rankone-old-20260101",
    ".out.rankone-claim-01234567",
    # of another output: somebody has renamed it
    hidden_name("before", "partial", "01234567").replace("before", "out"),
)


@pytest.mark.parametrize("folder", [True, False], ids=["folder", "file"])
@pytest.mark.parametrize("name", LIKE_OURS)
def test_what_only_looks_like_a_leftover_stays(tmp_path, name, folder):
    """A dated backup looks like anything: only a name that RankOne has made tells what it made."""
    kept = tmp_path / name / "letter.txt" if folder else tmp_path / name
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("precious", "utf8")
    make(tmp_path / "out")
    with claim(tmp_path / "insurance"):
        pass
    assert (leftovers(tmp_path), clean(tmp_path)) == ([], [])
    assert kept.read_text("utf8") == "precious"
