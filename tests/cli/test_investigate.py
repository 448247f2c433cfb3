"""`rankone investigate` from the command line, on a tiny pair and its harvest."""

from __future__ import annotations

import shutil

import pytest
from tests.cli.commands import with_options
from tests.tiny import RECIPE, rankone, write_pair

DOMAINS = ["--domains", "de", "--domains", "code"]


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    model, decomposition = write_pair(folder / "pair", tokenizer, len(tokenizer))
    harvested = ["harvest", decomposition, "--model", model, "--tokens", 80, *DOMAINS]
    assert rankone(*harvested, "--out", folder / "harvest").code == 0
    return folder


def words(folder, *more, component="h.0.mlp.down_proj:1"):
    pair = ["--model", folder / "pair" / "model", "--decomposition", folder / "pair" / "decomposition"]
    return with_options(
        ["investigate", component, "--harvest", folder / "harvest", *pair, "--tokens", 40], *more
    )


def test_a_subcomponent_is_investigated(folder, tmp_path):
    assert rankone("label", folder / "harvest", "--out", tmp_path / "labels").code == 0
    more = [
        "--alphas",
        "-1,-40",
        "--labels",
        tmp_path / "labels",
        "--sources",
        16,
        "--html",
        tmp_path / "page.html",
    ]
    done = rankone(*words(folder, *more))
    assert done.code == 0, done.err
    assert "At α = −40" in done.out
    assert "German" in done.out
    assert "(statistical, " in done.out
    html = (tmp_path / "page.html").read_text("utf8")
    assert "What turning h.0.mlp.down_proj:1 does" in html
    assert "What feeds h.0.mlp.down_proj:1, by the frozen rule" in done.out
    assert "What feeds h.0.mlp.down_proj:1, by the frozen rule" in html


@pytest.mark.parametrize(
    ("more", "component", "complaint"),
    [
        ([], "h.0.mlp.down_proj:9999", "is not in the harvest"),
        ([], "h.0.mlp.dwn_proj:1", "Nearest: h.0.mlp.down_proj"),
        (["--alphas", "1"], None, "alphas"),
        (["--domains", "dde"], None, "Nearest: de"),
        (["--split", "tst"], None, "unknown split"),
        (["--tokens", "0"], None, "tokens"),
        (["--harvest", "nowhere"], None, "no harvest at 'nowhere'"),
    ],
)
def test_bad_input(folder, more, component, complaint):
    done = rankone(*words(folder, *more, component=component or "h.0.mlp.down_proj:1"))
    assert done.code == 2
    assert complaint in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_harvest_of_another_decomposition_is_refused(folder, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPE, "initialisation", "aligned")
    model, decomposition = write_pair(tmp_path / "pair", tokenizer, len(tokenizer))
    done = rankone(*words(folder, "--decomposition", decomposition, "--model", model))
    assert done.code == 2
    assert "was made from another decomposition" in done.err


def test_nothing_is_overwritten(folder, tmp_path):
    page = tmp_path / "page.html"
    shutil.copy(__file__, page)
    done = rankone(*words(folder, "--html", page))
    assert done.code == 2
    assert "already exists" in done.err
