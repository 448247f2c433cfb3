"""The job on a real model, small on the built-in one: stages, resumption, page; in full where the model is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from rankone.core.artifact import open_artifact, read_json
from rankone.core.errors import RankOneError
from rankone.edits.finding.tolerances import Tolerances
from rankone.edits.lowrank import LowRankEdit
from rankone.experiments.real_model import language as room
from rankone.experiments.real_model.config import RealModelConfig
from rankone.experiments.real_model.language import Exported
from rankone.experiments.real_model.page import page as written
from rankone.experiments.real_model.results import bars
from rankone.experiments.real_model.run import run_real_model

SMALL = RealModelConfig(
    model="mini",
    languages=("fr",),
    spared=("fr", "en", "es"),
    sites=("h.3.mlp.down_proj",),
    sources=("neuron", "discriminant"),
    shortlist=1,
    tokens=200,
    rank_tokens=20,
    together=True,
    size_by="rise",
    size_tokens=20,
    tolerance=Tolerances(domains={"fr": 0.1}, other=0.2, about=5),  # of another language that the job removes
    budget=8,
    retain_tokens=60,
    lora_steps=2,
    train_steps=2,
    train_tokens=150,
    train_lora=True,
    test_tokens=60,
    answer_tokens=2,
)
STAGES = ["found", "scale", "trained", "lora", "trained-lora", "held-out", "adapter", "answers"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    out = tmp_path_factory.mktemp("real") / "out"
    with pytest.MonkeyPatch.context() as patch:
        done = Exported(path="fr-adapter", engine="peft", difference=1e-6)
        patch.setattr(room.Job, "_export", lambda _: done)
        found, page = run_real_model(SMALL, out)
    return found, page, out


def test_every_stage_is_kept(ran):
    found, page, out = ran
    (own,) = found
    assert {f"fr-{name}" for name in STAGES} == set(read_json(out / "seconds.json"))
    assert own.search.pick.rise > 0
    pair = own.search.pair
    assert pair is not None
    better = pair.rise > own.search.pick.rise
    assert own.pick == (" + ".join(pair.steps) if better else own.search.pick.part)
    scale = own.fits["scale"]
    assert set(scale.damage) == {"en", "es", "about-fr"}
    assert (own.alpha > 1) == (not better and own.search.pick.alpha > 1)
    assert set(own.held_out["scale"].damage["built-in"]) == {"fr", "en", "es", "about-fr"}
    assert own.held_out["scale"].unseen == ()
    edits = {name: LowRankEdit.from_pretrained(out / f"fr-{name}-edit") for name in own.fits}
    assert all(edit.sites == ("h.3.mlp.down_proj",) for edit in edits.values())
    said = {row["domain"]: row for row in open_artifact(out / "fr-scale-edit").provenance["measured"]}
    held = own.held_out["scale"].damage["built-in"]
    assert {d: row["rise"] for d, row in said.items()} == {d: damage.rise for d, damage in held.items()}
    assert [d for d, row in said.items() if row["role"] == "forget"] == ["fr"]
    assert read_json(out / "summary.json")["languages"]["fr"]["pick"] == own.pick
    text = page.read_text("utf8")
    assert (
        text.index("before") < text.index("what was promised") < text.index("the best part of every source")
    )


def test_the_page_says_how_the_model_was_asked(ran):
    (own,), page, _ = ran
    text = page.read_text("utf8")
    assert "French from a model" in text
    assert "asked in plain text" in text
    chats = own.model_copy(update={"effects": own.effects.model_copy(update={"chat": True})})
    assert "French from a chat model" in written([chats], SMALL, "", {})


def test_a_finished_run_computes_nothing_again(ran, monkeypatch):
    found, page, out = ran
    for name in ("find_parts", "fit_sized", "scanning", "side_effects", "export_adapter"):
        monkeypatch.setattr(room, name, None)
    again, same = run_real_model(SMALL, out)
    assert (again, same) == (found, page)


def test_what_stops_short_is_trained_and_shipped(ran):
    """From the scale, within the tolerances: a little other than it, and no larger than validation text allows."""
    (own,), page, out = ran
    assert list(own.fits) == ["scale", "trained", "lora", "trained-lora"]
    assert own.shipped == "trained"
    assert not own.fits["scale"].reached
    for name in ("trained", "trained-lora"):
        fit = own.fits[name]
        assert fit.steps == 2
        assert fit.forget_tokens == 150
        assert fit.size > 0
        assert set(fit.damage) == set(fit.weights) == {"en", "es", "about-fr"}
        assert all(fit.damage[d] <= (5 if d == "about-fr" else 0.2) for d in fit.damage)
    trained, scale = (LowRankEdit.from_pretrained(out / f"fr-{name}-edit") for name in ("trained", "scale"))
    (site,) = scale.sites
    old, new = (e.factors[site].write @ e.factors[site].read for e in (scale, trained))
    cosine = torch.cosine_similarity(old.flatten(), new.flatten(), dim=0)
    assert 0.9 < float(cosine) < 0.999999
    names = [bar.name for bar in bars(own, SMALL.tolerance)]
    assert names[-1] == "answers newly degenerate"
    assert names[:-1] == [bar.name for bar in bars(own, SMALL.tolerance, "scale")]
    text = page.read_text("utf8")
    assert "With both its directions trained" in text
    assert "one scale, α" in text


def test_a_scale_that_reaches_its_target_is_not_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(
        room.Job, "_export", lambda _: Exported(path="fr-adapter", engine="peft", difference=0)
    )
    ((own,), page) = run_real_model(SMALL.model_copy(update={"cap": 0.01}), tmp_path / "out")
    assert own.fits["scale"].reached
    assert list(own.fits) == ["scale", "lora"]
    assert own.shipped == "scale"
    assert "trained" not in page.read_text("utf8")


def test_a_folder_of_other_settings_is_refused(ran):
    with pytest.raises(RankOneError, match="other settings"):
        run_real_model(SMALL.model_copy(update={"budget": 4}), ran[2])


def test_what_stays_within_its_bar_is_met(ran):
    own = ran[0][0]
    found = bars(own, Tolerances(domains={"en": 1e-9}, other=9, about=9))
    by_name = {bar.name: bar for bar in found}
    held = own.held_out["trained"].damage["built-in"]
    rise = held["en"].rise
    assert by_name["en, rise (built-in)"].met == (rise <= 1e-9)
    assert by_name["es, rise (built-in)"].met
    share = held["fr"].edited / own.chance
    assert by_name["fr, share of chance (built-in)"].value == pytest.approx(share)
    assert by_name["fr, share of chance (built-in)"].met == (share >= 0.98)


def test_text_that_is_named_as_the_packages_own_is_refused(tmp_path):
    (tmp_path / "built-in").mkdir()
    with pytest.raises(RankOneError, match="the name of the text inside the package"):
        run_real_model(SMALL, tmp_path / "out", str(tmp_path / "built-in"))
    assert not (tmp_path / "out").exists()


def test_a_language_without_text_is_refused_first(tmp_path):
    with pytest.raises(RankOneError, match="built-in text has no pl"):
        run_real_model(SMALL.model_copy(update={"languages": ("pl",)}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_french_on_the_real_model(tmp_path):
    """RANKONE_SMOLLM2 names a folder of the model; without it one is fetched."""
    named = os.environ.get("RANKONE_SMOLLM2", "smollm2")
    config = RealModelConfig.from_yaml(
        shipped()["demo-smollm2"], model=named, languages=["fr"], test_tokens=300
    )
    (own,), _ = run_real_model(config, tmp_path / "out")
    held = own.held_out[own.shipped].damage["built-in"]
    assert own.adapter_engine == "peft"
    assert own.adapter_difference < 1e-3
    assert held["fr"].edited >= 0.9 * own.chance
    assert held["en"].rise < 0.02
    assert held["about-fr"].rise < 0.3
    assert Path(tmp_path / "out" / "index.html").is_file()
