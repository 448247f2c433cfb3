"""A tiny model with its decomposition, an edit of it, an export of that; commands that must be refused."""

from __future__ import annotations

import re

import pytest
import yaml
from tests.cli.commands import listing, tuning
from tests.tiny import RECIPE, rankone, write_pair


@pytest.fixture(scope="session")
def pair(tmp_path_factory, tokenizer):
    """Model directory and decomposition."""
    return write_pair(tmp_path_factory.mktemp("cli"), tokenizer, len(tokenizer))


@pytest.fixture(scope="session")
def mismatched(tmp_path_factory, tokenizer):
    """The same with a tokenizer of more entries than the model."""
    return write_pair(tmp_path_factory.mktemp("mismatched"), tokenizer, 300)


@pytest.fixture(scope="session")
def tuned(pair, tmp_path_factory):
    """An edit saved by `tune`, with what was printed."""
    path = tmp_path_factory.mktemp("tuned") / "edit"
    fit = ["--retain", "fr", "--budget", 6, "--steps", 4, "--learning-rate", 0.5]
    return path, rankone(*tuning(pair, *fit, "--out", path))


@pytest.fixture(scope="session")
def exported(pair, tuned, tmp_path_factory):
    """A checkpoint exported from the tuned edit, with what was printed."""
    path = tmp_path_factory.mktemp("exported") / "model"
    return path, rankone("export", tuned[0], "--model", pair[0], "--out", path)


@pytest.fixture
def refused(tmp_path):
    """Run a command that must fail with one line that matches, and change nothing in `tmp_path`."""

    def check(message, *words):
        before = listing(tmp_path)
        outcome = rankone(*words)
        assert outcome.code == 2, outcome.out
        assert outcome.err.startswith("rankone: ")
        assert outcome.err.count("\n") == 1
        assert re.search(message, outcome.err), outcome.err
        assert listing(tmp_path) == before

    return check


@pytest.fixture
def recipe(tmp_path):
    """Write a decomposition recipe with changes."""

    def write(**changes):
        path = tmp_path / "recipe.yaml"
        path.write_text(
            yaml.safe_dump({**RECIPE, "compile": False, "rows": 2, "context": 16, **changes}), "utf8"
        )
        return path

    return write
