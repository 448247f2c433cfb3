"""A new method, a new architecture, a new kind of artefact: one file each, as CONTRIBUTING says. Each is added here."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

import rankone.core.schemas
import rankone.edits.methods
from rankone.core.artifact import new_artifact, open_artifact
from rankone.core.config import Config
from rankone.core.schemas.kinds import schemas
from rankone.edits.methods.registry import kinds, method_names
from rankone.experiments.config import MethodName
from rankone.models import anatomy

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^  ```python\n  # src/rankone/(\S+)\n(.*?)^  ```", re.MULTILINE | re.DOTALL)
EXAMPLES = {
    path: textwrap.dedent(code) for path, code in FENCE.findall((ROOT / "CONTRIBUTING.md").read_text("utf8"))
}


class Recipe(Config):
    """A recipe that names a method."""

    method: MethodName


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Put one file beside those of a room, for one test."""

    def add(room, name, source):
        (tmp_path / name).write_text(source, "utf8")
        monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
        kinds.cache_clear()
        method_names.cache_clear()
        schemas.cache_clear()

    yield add
    monkeypatch.undo()
    kinds.cache_clear()
    method_names.cache_clear()
    schemas.cache_clear()


def test_a_method_is_one_file(added):
    with pytest.raises(Exception, match="unknown method 'both_signs'"):
        Recipe.checked({"method": "both_signs"}, "recipe")
    added(rankone.edits.methods, "contributed_method.py", EXAMPLES["edits/methods/both_signs.py"])
    assert Recipe.checked({"method": "both_signs"}, "recipe").method == "both_signs"
    assert list(kinds())[-1] == "both_signs"


def test_an_artefact_kind_is_one_file(added, tmp_path):
    """Version 1 needs nothing but its writer; a new layout adds the step from the old one."""
    with new_artifact(tmp_path / "card", "card") as staging:
        (staging / "card.json").write_text('{"title": "a"}', "utf8")
    assert open_artifact(tmp_path / "card", "card").json("card.json") == {"title": "a"}
    added(rankone.core.schemas, "contributed_schema.py", EXAMPLES["core/schemas/card.py"])
    assert open_artifact(tmp_path / "card", "card").json("card.json") == {"name": "a"}
    with new_artifact(tmp_path / "new", "card") as staging:
        (staging / "card.json").write_text('{"name": "b"}', "utf8")
    assert open_artifact(tmp_path / "new", "card").json("card.json") == {"name": "b"}


def test_an_architecture_is_one_file(monkeypatch):
    site, said = "model.layers.0.mixer.back_proj", {}
    assert not anatomy.writes_residual(site, 64, 64)
    exec(EXAMPLES["models/anatomy.py"], said)
    assert said["_MLP_OUTPUTS"] == anatomy._MLP_OUTPUTS | {"back_proj"}
    monkeypatch.setattr(anatomy, "_MLP_OUTPUTS", said["_MLP_OUTPUTS"])
    assert anatomy.writes_residual(site, 64, 64)
    assert anatomy.reads_hidden(site, 64, 64)


def test_no_other_file_knows_an_architecture_by_name():
    names = anatomy._ATTENTION_OUTPUTS | anatomy._MLP_OUTPUTS | anatomy._EITHER_OUTPUT | anatomy._SCORES
    names = {*names, *anatomy._VALUES, *anatomy._FUSED, *anatomy._CONTEXT_KEYS} - {
        "dense",
        "key",
        "query",
        "value",
        "v",
    }
    known = re.compile("|".join(rf'"{name}"' for name in sorted(names)))
    source = ROOT / "src" / "rankone"
    files = [f for f in source.rglob("*.py") if "assets" not in f.parts and f.name != "anatomy.py"]
    knowing = [str(f.relative_to(source)) for f in files if known.search(f.read_text("utf8"))]
    # The built-in architecture, and the stock one that it is written as.
    assert sorted(knowing) == []
