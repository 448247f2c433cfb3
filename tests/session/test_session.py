"""The session as a user meets it: the lines that the project promises, run as they stand, on the built-in model."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch

import rankone as ro
from rankone.core.errors import RankOneError
from rankone.edits.lowrank import LowRankEdit
from rankone.parts.parts import Parts
from rankone.parts.storage import save_parts

PART = "h.3.mlp.down_proj:270"


@pytest.mark.slow
def test_the_promised_lines_run_as_they_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    s = ro.open("mini")
    table = s.rank(of="de", against=["en"]).head()
    assert len(table.rows) == 10
    assert str(table.rows[0][0]) in table._repr_html_()
    edit = s.scale({"h.3.mlp.down_proj:270": -16})
    fit = s.fit(["h.3.mlp.down_proj:270"], forget="de", retain=["en"], budget=4, seed=0)
    assert fit.run.forget.tokens == 4
    assert fit.sized is not None
    before = s.generate("Der Ausschuss hat").text
    with edit.applied(s.model):
        assert s.generate("Der Ausschuss hat").text != before
    assert s.generate("Der Ausschuss hat").text == before
    for changed in (edit, fit.edit):
        damage = s.damage(changed)
        assert damage["de"].rise > 2 > 0.5 > abs(damage["en"].rise)
    assert (edit + edit.invert()).rank("h.3.mlp.down_proj") == 2
    edit.save_pretrained("runs/german")
    merged = edit.merge(s.model)
    assert merged is not None
    edit.to_peft("runs/german-lora")
    assert ro.LowRankEdit.from_pretrained("runs/german").sites == ("h.3.mlp.down_proj",)


def test_a_fit_is_saved_and_told_in_a_line(tmp_path):
    fit = ro.open("mini").fit(
        "h.3.mlp.down_proj:270", forget="de", retain=["en"], budget=4, retain_tokens=100
    )
    fit.edit.save_pretrained(tmp_path / "fitted")
    assert ro.LowRankEdit.from_pretrained(tmp_path / "fitted").sites == ("h.3.mlp.down_proj",)
    assert repr(fit).startswith(f"Fit({fit.edit.description}; size set by retained text; forget text at ")
    assert "nan" not in repr(fit)  # one scale is sized and not fitted: it has no loss


def test_a_scale_is_given_as_a_command_has_it():
    s = ro.open("mini")
    asked = s.scale({PART: -16})
    for words in (f"{PART}=-16", [f"{PART}=-16"]):
        assert s.scale(words).description == asked.description
        assert s.edit(words, tokens=20).scales == {PART: -16.0}
    with pytest.raises(RankOneError, match=f"scale: scales: '{PART}' sets no scale: write PART=ALPHA"):
        s.scale(PART)


def test_damage_is_a_table_of_domains():
    s = ro.open("mini")
    damage = s.damage(s.scale({PART: -4.0}), tokens=40)
    table = damage.head(2)
    assert [str(row[0]) for row in table.rows] == s.corpus.domains()[:2]
    assert damage["de"].rise == next(d.rise for d in damage.domains if d.domain == "de") > 0
    assert "95% interval of the rise" in repr(damage)
    with pytest.raises(RankOneError, match=r"no damage of 'dee' was measured.*Nearest: de"):
        damage["dee"]


def test_damage_is_that_of_one_edit_on_the_weights_it_was_made_for():
    s = ro.open("mini")
    edit = s.scale({PART: -4.0})
    rise = s.damage(edit, tokens=20)["de"].rise
    with (
        edit.applied(s.model),
        pytest.raises(RankOneError, match="is applied to this model"),
    ):
        s.damage(edit, tokens=20)
    assert s.damage(edit, tokens=20)["de"].rise == rise
    edit.merge(s.model, in_place=True)
    with pytest.raises(RankOneError, match="the edit was made for another model"):
        s.damage(edit, tokens=20)


def test_verbs_take_an_edit_in_memory(tmp_path):
    """As they take the same edit saved; one that is bound to no weights is of the open model's, and nothing stays behind."""
    s = ro.open("mini")
    edit = s.scale({PART: -16.0})
    folder = edit.save_pretrained(tmp_path / "edit")
    before = _scratch()
    saved, held, loose = (
        s.generate("Der Ausschuss hat", edit=one, tokens=8).text
        for one in (folder, edit, LowRankEdit(edit.factors))
    )
    assert saved == held == loose
    assert s.measure(edit=edit, tokens=20).ce == s.measure(edit=str(folder), tokens=20).ce
    other = LowRankEdit(edit.factors, base=dict.fromkeys(edit.factors, "0" * 64))
    with pytest.raises(RankOneError, match="the edit was made for another model"):
        s.generate("Der", edit=other)
    with pytest.raises(RankOneError, match="export: edit: must be a path"):
        s.export(s.model, out=tmp_path / "out", as_="checkpoint")
    assert _scratch() == before


def _scratch() -> list[Path]:
    return sorted(Path(tempfile.gettempdir()).glob("rankone-session-*"))


def test_a_fit_of_both_sides_or_of_nothing_is_refused():
    s = ro.open("mini")
    with pytest.raises(RankOneError, match="'de' is on both sides"):
        s.fit("h.3.mlp.down_proj:270", forget="de", retain=["de"])
    with pytest.raises(RankOneError, match="budget: must be greater than 0"):
        s.fit("h.3.mlp.down_proj:270", forget="de", budget=0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: s.scale({PART: None}), f"scales.*{PART}.*valid number"),
        (lambda s: s.scale({PART: "big"}), f"scales.*{PART}.*big"),
        (lambda s: s.scale({PART: float("nan")}), f"scales.*{PART}"),
        (
            lambda s: s.scale({PART: True}),
            f"scale: scales.{PART}: must be a number, not true or false.*got True",
        ),
        (lambda s: s.fit(PART, forget="de", budget=True), "fit: budget: must be a number, not true or false"),
        (lambda s: s.damage(s.scale({PART: 0}), tokens=True), "damage: tokens: must be a number, not true"),
        (lambda s: s.damage(s.scale({PART: 0}), tokens="x"), "damage: tokens: .*got 'x'"),
        (lambda s: s.damage(s.scale({PART: 0}), split="train"), "unknown split 'train'; choose 'validation'"),
        (lambda s: s.scale({}), "scales"),
        (lambda s: s.scale([]), "scales"),
        (lambda s: s.scale({3: 0}), "scales"),
        (lambda s: s.damage(None), "damage takes an edit, not None"),
        (lambda s: s.damage(s.model), "damage takes an edit, not a SimpleMLPForCausalLM: make"),
        (lambda s: ro.LowRankEdit.from_pretrained(3), "an artefact is named by its folder.*not 3"),
        (lambda s: ro.open(None), "open: model.*None"),
        (lambda s: ro.open(text=3), "open: text.*3"),
        (lambda s: s.damage("runs/german"), "damage takes an edit, not 'runs/german'"),
        (lambda s: s.fit([], forget="de", retain=["en"]), "parts"),
        (lambda s: s.scale({PART: 0}).apply(s), "of a session give session.model"),
    ],
)
def test_what_is_asked_wrongly_is_named(call, said):
    with pytest.raises(RankOneError, match=said):
        call(ro.open("mini"))


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"model": "./not-there"}, "no model directory at './not-there'"),
        ({"decomposition": "not-there"}, "not-there"),
        ({"harvest": "not-there"}, "not-there"),
        ({"text": "./not-there"}, "not-there"),
        ({"model": ""}, "open: model: is empty: give a built-in name, a folder"),
        ({"model": " "}, "open: model: is empty"),
        ({"decomposition": ""}, "open: decomposition: is empty"),
        ({"harvest": ""}, "open: harvest: is empty: name a path, or write . for the current folder"),
    ],
)
def test_what_is_not_there_or_empty_is_said_when_it_is_opened(named, said):
    with pytest.raises(RankOneError, match=said):
        ro.open(**named)


def test_no_artefact_has_an_empty_name(tmp_path, monkeypatch):
    """It would be the current folder, here one that holds an edit."""
    s = ro.open("mini")
    s.scale({PART: 0}).save_pretrained(tmp_path / "edit")
    monkeypatch.chdir(tmp_path / "edit")
    assert ro.LowRankEdit.from_pretrained(".").rank(PART.rpartition(":")[0]) == 1
    with pytest.raises(RankOneError, match="artefact's name is empty: give its folder"):
        ro.LowRankEdit.from_pretrained("")
    with pytest.raises(RankOneError, match="export: edit: is empty"):
        s.export("", out=tmp_path / "out")


def test_saved_parts_alone_are_ranked_by_name(tmp_path):
    """A model with parts beside it and no decomposition: the message names `only`, which then does it."""
    s = ro.open("mini")
    s.model.save_pretrained(tmp_path / "model")
    s.tokenizer.save_pretrained(tmp_path / "model")
    saved = s.book.gathered(["singular/h.3.mlp.down_proj:0", "singular/h.3.mlp.down_proj:1"])
    save_parts([saved], s.model, tmp_path / "parts")
    alone = ro.open(tmp_path / "model", parts=tmp_path / "parts")
    with pytest.raises(RankOneError, match=r"rank needs parts: .*name them \(only='singular/\*'\)"):
        alone.rank(of="de")
    ranked = alone.rank(of="de", domains=("de", "en"), only=saved.names(), tokens=100)
    assert {row.name for row in ranked.rows} == {*saved.names()}


def test_a_session_says_what_it_is_of():
    assert repr(ro.open("mini", device="cpu")) == "Session('mini', device='cpu')"


def test_saved_subcomponents_are_those_of_the_decomposition_that_is_open(tmp_path):
    """What `find` saves may hold some of the decomposition's own parts: they are there once, and must be the same."""
    s = ro.open("mini")
    name = "h.3.mlp.down_proj:270"
    own, neuron = (s.book.gathered([one]) for one in (name, f"neuron/{name}"))
    save_parts([own, neuron], s.model, tmp_path / "found")
    book = ro.open("mini", parts=tmp_path / "found").book
    assert torch.equal(book.vectors(name)[0], s.book.vectors(name)[0])
    site = "h.3.mlp.down_proj"
    read, write = own.factors(site)
    other = Parts({site: (-read, write)}, "", own.indices, own.made)
    save_parts([other], s.model, tmp_path / "other")
    with pytest.raises(RankOneError, match="another decomposition than mini-decomposition"):
        _ = ro.open("mini", parts=tmp_path / "other").book


def test_a_session_made_of_a_name_says_how_it_is_opened():
    with pytest.raises(RankOneError, match=r"a session is opened by rankone\.open\('mini'\)"):
        ro.Session("mini")
