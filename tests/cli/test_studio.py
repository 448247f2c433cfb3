"""`rankone studio`: what it opens is asked for as every command asks for it."""

from __future__ import annotations

import typer
from tests.tiny import rankone

from rankone.cli import app
from rankone.opening import OpenOptions


def test_all_that_can_be_opened_is_an_option_with_its_own_default_and_words():
    group = typer.main.get_command(app)
    options = {option.name: option for option in group.commands["studio"].params}  # pyright: ignore
    for name, field in OpenOptions.model_fields.items():
        if name == "clusters":
            assert name not in options
            continue
        assert (options[name].default, options[name].help) == (field.default, field.description)


def test_names_that_cannot_be_opened_are_refused_before_it_serves(tmp_path):
    done = rankone("studio", tmp_path, "--no-browser", "--harvest", tmp_path / "none")
    assert (done.code, "none" in done.err) == (2, True)
    done = rankone("studio", tmp_path, "--no-browser", "--dtype", "float8")
    assert (done.code, "float32" in done.err) == (2, True)
