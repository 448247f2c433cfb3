"""The revision recorded is RankOne's own, never that of a repository it happens to lie in."""

from __future__ import annotations

import subprocess

from rankone.core import provenance
from rankone.core.provenance import environment, git_revision


def repository(root, name):
    """A repository with our package at src/rankone, whose project is called `name`."""
    source = root / "src" / "rankone"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("", "utf8")
    (root / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n', "utf8")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "all"]):
        subprocess.run(["git", *arguments], cwd=root, check=True)
    return source


def test_our_own_tree_is_recorded_and_its_changes_are_marked(tmp_path):
    source = repository(tmp_path, "rankone")
    revision = git_revision(source)
    assert revision is not None
    assert len(revision) == 40
    (source / "__init__.py").write_text("x = 1\n", "utf8")
    assert git_revision(source) == f"{revision}+dirty"


def test_the_repository_of_somebody_else_is_not(tmp_path):
    assert git_revision(repository(tmp_path / "other", "my-project")) is None
    repository(tmp_path / "mine", "rankone")
    installed = tmp_path / "mine" / ".venv" / "lib" / "rankone"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("", "utf8")
    assert git_revision(installed) is None
    assert git_revision(tmp_path) is None


def test_one_process_asks_git_once(monkeypatch):
    provenance._loaded.cache_clear()
    asked = []
    monkeypatch.setattr(provenance, "_git", lambda *words: asked.append(words))
    first = environment()
    times = len(asked)
    assert times
    assert {**environment(), "created": ""} == {**first, "created": ""}
    assert len(asked) == times
    monkeypatch.undo()
    provenance._loaded.cache_clear()
