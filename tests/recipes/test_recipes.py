"""Recipes that ship: in the wheel, and found by name from anywhere; a file of the user's comes first."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.rooms import ROOT
from tests.test_light import command
from tests.tiny import rankone as typed

import rankone
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.recipes import recipe_file, shipped, ships
from rankone.verbs.table import VERBS

NAMED = [verb for verb in VERBS.values() if "recipe" in verb.request.model_fields]


def read_by_the_demo():
    """Files beside its recipe."""
    values = Config.yaml_values(shipped()["demo"])
    return [values["rates_from"], values["reference"]]


def test_every_recipe_is_in_the_wheel():
    wheel = pytest.importorskip("hatchling.builders.wheel")
    packed = {
        one.distribution_path for one in wheel.WheelBuilder(str(ROOT.parents[1])).recurse_included_files()
    }
    named = {f"rankone/recipes/{name}.yaml" for name in shipped()}
    read = {f"rankone/recipes/{name}" for name in read_by_the_demo()}
    assert len(named) > 25
    assert (named | read) - packed == set()


def test_names_are_paths_without_the_ending():
    assert {"german", "decompose-mini", "toys/tms-5-2", "capacity/half"} <= set(shipped())
    assert recipe_file("toys/tms-5-2").read_text("utf8").startswith("#")


def test_a_path_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recipe_file("german") == shipped()["german"]
    (tmp_path / "german").mkdir()  # what a benchmark was written to is no recipe
    assert recipe_file("german") == shipped()["german"]
    (tmp_path / "french").write_text("model: mini\n", "utf8")
    assert str(recipe_file("french")) == "french"
    assert ships(recipe_file("german"))
    assert not ships(recipe_file("french"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert recipe_file("~/french") == tmp_path / "french"


@pytest.mark.parametrize(
    ("given", "offered"),
    [
        ("germna", r"Nearest: german"),
        ("tms-5-2", r"Nearest: toys/tms-5-2"),
        ("capacity/on", r"Nearest: capacity/one"),
        ("german.yaml", r"'german' does: give that name"),
        ("recipes/toys/tms-5-2.yaml", r"'toys/tms-5-2' does: give that name"),
        ("qqq", r"Those that ship: .*capacity/half, .*german, .*transcoders-mini\."),
    ],
)
def test_what_is_neither_a_path_nor_a_name_is_refused(given, offered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RankOneError, match=f"no recipe at '{given}', and none of that name ships. {offered}"):
        recipe_file(given)


@pytest.mark.parametrize("verb", NAMED, ids=lambda verb: verb.name)
def test_every_verb_that_takes_a_recipe_takes_a_name(verb):
    with pytest.raises(RankOneError, match="no recipe at 'nowhere', and none of that name ships"):
        verb.request.model_validate({"recipe": "nowhere"})
    assert "a YAML file, or one that ships" in (verb.request.model_fields["recipe"].description or "")


def test_a_command_finds_a_recipe_by_name_from_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = (
        "decompose",
        "mini",
        "--recipe",
        "decompose-mini",
        "--text",
        "builtin",
        "--out",
        "new",
        "--estimate",
    )
    done = typed(*words, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["state"] == "estimated"
    assert list(tmp_path.iterdir()) == []
    assert rankone.open("mini").sites(estimate=True, recipe="targeted-german-mini").sites


def test_a_wrong_name_is_refused_without_pytorch(tmp_path):
    done = command("bench", "germna", "--out", "new", folder=tmp_path)
    assert (done.returncode, "Nearest: german" in done.stderr) == (2, True), done.stderr


def test_the_help_of_a_recipe_needs_no_heavy_library(tmp_path):
    done = command("bench", "--help", folder=tmp_path)
    assert (done.returncode, "or one that ships" in " ".join(done.stdout.split())) == (0, True), done.stderr


def test_a_copy_of_a_recipe_reads_as_it_does(tmp_path):
    from rankone.experiments.config import read_recipe

    copied = tmp_path / "mine.yaml"
    shutil.copy(shipped()["german"], copied)
    assert read_recipe(copied, "quick") == read_recipe(shipped()["german"], "quick")
