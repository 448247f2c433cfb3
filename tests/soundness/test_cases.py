"""Every case that once failed has tests that hold it; and the tests of cases that stood nowhere else."""

from __future__ import annotations

import ast
import resource
from pathlib import Path

import pytest
from tests.claimed import claimed_elsewhere
from tests.soundness.cases import HELD, MORE
from tests.tiny import rankone, write_pair

from rankone.core.errors import RankOneError
from rankone.decomposition.config import DecomposeConfig
from rankone.harvest.counting.shard import Shard

TESTS = Path(__file__).parents[1]


def test_there_are_thirty_nine():
    assert sorted(HELD) == list(range(1, 40))


@pytest.fixture(scope="module")
def names():
    """All tests there are, by name."""
    trees = [ast.parse(path.read_text("utf8")) for path in TESTS.rglob("test_*.py")]
    return {f.name for tree in trees for f in tree.body if isinstance(f, ast.FunctionDef)}


@pytest.mark.parametrize("number", HELD)
def test_each_is_held_by_tests_that_exist(number, names):
    assert HELD[number]
    assert [name for name in HELD[number] if name not in names] == []


def test_variants_of_every_kind_are_held_too(names):
    assert sorted(MORE) == list(range(1, 13))
    assert [name for held in MORE.values() for name in held if name not in names] == []


def test_a_recipe_with_a_key_twice_is_refused(tmp_path):
    (tmp_path / "r.yaml").write_text("steps: 3\nsteps: 4\n", "utf8")
    with pytest.raises(RankOneError, match="the key 'steps' stands there twice"):
        DecomposeConfig.from_yaml(tmp_path / "r.yaml")


@pytest.fixture(scope="module")
def pair(tmp_path_factory, tokenizer):
    return write_pair(tmp_path_factory.mktemp("pair"), tokenizer, len(tokenizer))


def test_of_two_harvests_in_one_run_folder_the_second_is_refused(pair, tmp_path):
    words = ["harvest", pair[1], "--model", pair[0], "--domains", "de", "--tokens", 60]
    with claimed_elsewhere(tmp_path / "run" / Shard().folder):
        done = rankone(*words, "--out", tmp_path / "out", "--run", tmp_path / "run")
    assert done.code == 2
    assert f"another run is writing to '{tmp_path / 'run'}" in done.err
    assert not (tmp_path / "out").exists()


WRITERS = {
    "pretrain": ["pretrain", "RECIPE", "--text", "builtin", "--preset", "tiny", "--out", "OUT"],
    "harvest": ["harvest", "DEC", "--model", "MODEL", "--domains", "de", "--tokens", 200, "--out", "OUT"],
    "edit": [
        "edit",
        "h.0.mlp.c_fc:3=0",
        "--model",
        "MODEL",
        "--decomposition",
        "DEC",
        "--tokens",
        60,
        "--out",
        "OUT",
    ],
    "fetch": ["fetch", "mini", "--out", "OUT"],
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_line(name, pair, tmp_path):
    """Files may have 300 bytes at most: what a full disk looks like to a writer."""
    import yaml

    from perf import tiny

    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tiny.pretrain(8000)), "utf8")
    places = {"MODEL": pair[0], "DEC": pair[1], "RECIPE": tmp_path / "recipe.yaml", "OUT": tmp_path / "out"}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        done = rankone(*[places.get(word, word) if isinstance(word, str) else word for word in WRITERS[name]])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.code == 2, done
    assert done.err.splitlines()[-1].startswith("rankone: ")
    assert "room" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
