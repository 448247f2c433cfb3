"""What a shard leaves in its run directory."""

from __future__ import annotations

import pytest

from rankone.core.claims import clean, leftovers
from rankone.harvest.counting import chunks
from rankone.harvest.counting.shard import Shard


def test_a_kill_while_a_run_is_cleared_away_leaves_what_clean_knows(tmp_path, monkeypatch):
    """The harvest stands by then, and the same command is refused: nothing else would remove half a run."""
    shard, run = Shard(), tmp_path / "harvest.run"
    (run / shard.folder / "chunk-0").mkdir(parents=True)

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
        (run / Shard(index, 2).folder).mkdir(parents=True)
    chunks.clear(run, Shard(0, 2))
    assert [path.name for path in run.iterdir()] == [Shard(1, 2).folder]
