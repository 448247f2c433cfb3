"""What is said of packages: by the requirements that this installation states."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from rankone.doctor import installation
from rankone.doctor.extras import GIVES

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text("utf8"))["project"]


def test_every_extra_says_what_it_gives():
    assert GIVES.keys() == PROJECT["optional-dependencies"].keys()


def test_requirements_are_met_or_named():
    assert installation.unmet(Requirement("numpy>=1.0")) is None
    assert installation.unmet(Requirement("numpy<1.0")).startswith("numpy is ")
    assert installation.unmet(Requirement("no-such-package")) == "no-such-package is not installed"


def test_requirements_are_grouped_by_extra(monkeypatch):
    stated = ["numpy>=2", 'peft>=0.14; extra == "peft"', 'x; python_version < "3"', "not a requirement!"]
    monkeypatch.setattr(installation.metadata, "requires", lambda _: stated)
    found = installation.requirements()
    assert [r.name for r in found[""]] == ["numpy"]
    assert [r.name for r in found["peft"]] == ["peft"]


def test_a_missing_requirement_is_wrong_and_a_missing_extra_a_note(monkeypatch):
    stated = {"": [Requirement("no-such-package")], "gguf": [Requirement("no-such-package")]}
    monkeypatch.setattr(installation, "requirements", lambda: stated)
    found = {f.check: f for f in installation.check_installation()}
    assert found["packages"].status == "wrong"
    assert found["extra gguf"].status == "note"
    assert "pip install 'rankone[gguf]'" in found["extra gguf"].mend
    assert found["built-in mini"].status == "ok"


def test_an_old_python_is_wrong():
    assert installation._python((3, 10)).status == "wrong"
    assert installation._python((3, 11)).status == "ok"
