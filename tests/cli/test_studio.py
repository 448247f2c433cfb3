"""`rankone studio`: what it opens is asked for as every command asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from tests.tiny import rankone

from rankone.cli import commands
from rankone.cli.studio import _folder
from rankone.core.errors import RankOneError
from rankone.opening import OpenOptions


def test_all_that_can_be_opened_is_an_option_with_its_own_default_and_words():
    group = typer.main.get_command(commands())
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


@pytest.mark.parametrize("named", [None, Path("runs"), Path("./runs")])
def test_the_usual_workspace_is_made_whether_it_is_named_or_not(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    assert _folder(named).is_dir()
    with pytest.raises(RankOneError, match="no workspace at 'rusn'"):
        _folder(Path("rusn"))
    (tmp_path / "runs").rmdir()
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RankOneError, match="no workspace at 'runs'"):
        _folder(named)


@pytest.mark.parametrize(
    ("words", "served"),
    [
        ("", (0, True, "127.0.0.1", None)),
        ("--port 5 --no-browser --allow-remote 0.0.0.0 --public-host me", (5, False, "0.0.0.0", "me")),
    ],
)
def test_what_is_typed_reaches_the_server(tmp_path, monkeypatch, words, served):
    calls = []
    monkeypatch.setattr("rankone.studio.serve.serve", lambda *given: calls.append(given))
    assert rankone("studio", tmp_path, "--model", "mini", *words.split()).code == 0
    assert calls == [(OpenOptions(model="mini"), tmp_path, *served)]


@pytest.mark.parametrize(("words", "count"), [("", 10), ("--pages 0", 0), ("--pages 3", 3)])
def test_as_many_pages_are_written_as_are_asked_for(tmp_path, monkeypatch, words, count):
    calls = []
    monkeypatch.setattr(
        "rankone.studio.standing.folder.write_folder", lambda _opening, *given: calls.append(given)
    )
    monkeypatch.setattr("rankone.cli.output.say", lambda _reply: None)
    assert rankone("studio", tmp_path, "--export", tmp_path / "out", *words.split()).code == 0
    assert calls == [(tmp_path, tmp_path / "out", count)]
