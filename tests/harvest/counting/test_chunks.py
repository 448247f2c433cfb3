"""What a shard leaves in its run directory."""

from __future__ import annotations

import pytest

from rankone.core.artifact import new_artifact, write_json
from rankone.core.claims import clean, leftovers
from rankone.harvest.counting import chunks
from rankone.harvest.counting.shard import Shard


def counted(folder):
    """What a harvest of one chunk leaves."""
    for name in ("about.json", "finished.json"):
        write_json(folder / name, {})
    with new_artifact(folder / "chunk-00000000", chunks.KIND) as staging:
        write_json(staging / "progress.json", {})


def test_a_kill_while_a_run_is_cleared_away_leaves_what_clean_knows(tmp_path, monkeypatch):
    """The harvest stands by then, and the same command is refused: nothing else would remove half a run."""
    shard, run = Shard(), tmp_path / "harvest.run"
    counted(run / shard.folder)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            chunks.clear(run, shard)
    assert not run.exists()
    assert leftovers(tmp_path)
    clean(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_run_of_other_shards_stays(tmp_path):
    run = tmp_path / "run"
    for index in range(2):
        counted(run / Shard(index, 2).folder)
    chunks.clear(run, Shard(0, 2))
    assert [path.name for path in run.iterdir()] == [Shard(1, 2).folder]


def test_what_somebody_else_put_there_stays(tmp_path):
    shard, run = Shard(), tmp_path / "run"
    counted(run / shard.folder)
    (run / shard.folder / "chunk-notes").mkdir()
    (run / shard.folder / "chunk-notes/letter.txt").write_text("mine", "utf8")
    chunks.clear(run, shard)
    assert [p.name for p in run.rglob("*") if p.is_file()] == ["letter.txt"]
