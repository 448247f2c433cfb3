"""Tuning: the reply says what the fit came to, on which terms, and what to try."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import workspace as made
from tests.tiny import tiny_model

from rankone.core.errors import RankOneError
from rankone.edits.fitting.config import LEAST_TRAINED
from rankone.edits.fitting.text import enough_text
from rankone.edits.fitting.text.enough_text import ENOUGH
from rankone.edits.fitting.text.retain_text import default_retain
from rankone.edits.lowrank import LowRankEdit
from rankone.experiments import tuning
from rankone.experiments.requests import TuneRequest
from rankone.experiments.tuning import fit, tune
from rankone.models.loading import load_model
from rankone.text.sources.directory import DirectoryCorpus

PART = "h.0.mlp.c_fc:3"


@pytest.fixture(scope="module")
def workspace(tokenizer, corpus):
    model = tiny_model(len(tokenizer))
    return made(model, decomposed(model, "random"), tokenizer, corpus)


def request(**changes):
    small = {"scale": (PART,), "forget": "de", "retain": ("en", "fr"), "retain_tokens": 200, "tokens": 150}
    return TuneRequest.checked({**small, **changes}, "tune")


def test_the_reply_and_the_saved_edit(workspace, tmp_path):
    reply = tune(workspace, request(out=tmp_path / "edit"))
    assert reply.saved == tmp_path / "edit"
    assert reply.forget_tokens == 4
    assert max(reply.kl.values()) <= reply.aim.tolerance
    assert set(reply.kl) == {"en", "fr"}
    assert [r.role for r in reply.domains][:3] == ["forget", "retain", "retain"]
    assert {r.domain for r in reply.domains} == set(workspace.corpus.domains())
    # An untrained model is near chance already, whatever is scaled: the warnings follow the numbers.
    forgotten = reply.domains[0].edited
    assert reply.aim.removed(forgotten) == (not any("not at chance" in w for w in reply.warnings))
    assert reply.met == (reply.aim.removed(forgotten) and not any("bar" in w for w in reply.warnings))
    edit = LowRankEdit.from_pretrained(tmp_path / "edit")
    assert edit.provenance is not None
    assert edit.provenance["measured"] == [row.model_dump(mode="json") for row in reply.domains]
    assert edit.description == f"h.0.mlp.c_fc:3 × {reply.scales['h.0.mlp.c_fc:3']:.3g}"
    assert reply == type(reply).model_validate_json(reply.model_dump_json())


def test_an_amplifying_end_is_said(workspace):
    replies = [tune(workspace, request(seed=seed)) for seed in range(2)]
    for reply in replies:
        alpha = reply.scales["h.0.mlp.c_fc:3"]
        assert reply.sign == ("amplifying" if alpha > 1 else "inverting" if alpha < 0 else "suppressing")
        assert any("amplifies" in w for w in reply.warnings) == (alpha > 1)
        assert reply.lines()[0].startswith("the aim is " + ("met" if reply.met else "not met"))


def test_directions_are_trained_after_the_scale_if_asked(workspace, tmp_path):
    scaled = tune(workspace, request(budget=500))
    reply = tune(workspace, request(budget=500, train=3, out=tmp_path / "edit"))
    assert reply.scales == scaled.scales
    assert reply.trained == 3
    assert reply.forget_tokens == 500
    assert set(reply.weights) == set(reply.kl) == {"en", "fr"}
    assert max(reply.kl.values()) <= reply.aim.tolerance
    assert reply.kl != scaled.kl
    edit = LowRankEdit.from_pretrained(tmp_path / "edit")
    assert edit.rank("h.0.mlp.c_fc") == 1
    assert edit.method == "trained"
    assert edit.description.endswith("directions trained")
    assert edit.provenance is not None
    assert edit.provenance["train"] == 3
    assert "then trained for 3 steps" in reply.tables()[0].title
    heavy = [d for d in reply.weights if reply.weights[d] > 0]
    assert any("stood in the way" in line for line in reply.lines()) == bool(heavy)
    assert reply == type(reply).model_validate_json(reply.model_dump_json())


@pytest.mark.parametrize(
    "few", [{"budget": 4}, {"forget": "self:de"}, {"forget": "self:de", "openings": ("Es",)}]
)
def test_of_few_tokens_directions_are_trained_on_what_the_model_goes_on_to_write(workspace, few, monkeypatch):
    monkeypatch.setattr(enough_text, "CHANGED", 0.0)  # an untrained model is at chance already
    scaled, reply = tune(workspace, request(**few)), tune(workspace, request(train=2, **few))
    assert reply.scales == scaled.scales
    assert (reply.forget_tokens, scaled.self_tokens) == (scaled.forget_tokens, 0)
    assert LEAST_TRAINED <= reply.self_tokens <= ENOUGH
    assert f"on {reply.self_tokens:,} tokens that the model wrote itself" in reply.tables()[0].title
    assert reply.kl != scaled.kl


def test_a_part_that_does_nothing_for_the_domain_is_refused(workspace):
    with pytest.raises(RankOneError, match=r"are in text that the scale changes .*Give a part"):
        tune(workspace, request(train=2))


def test_a_domain_without_text_is_said(workspace):
    reply = tune(workspace, request(forget="self:jargon", openings=("Es ist",)))
    assert any("no text of jargon" in warning for warning in reply.warnings)


def test_the_forget_text_of_training_has_a_cap_of_its_own(workspace):
    """A cap below what the scale reached already: the trained edit is the smaller one."""
    sizes = [
        fit(workspace, request(budget=500, train=1, train_cap=cap), {PART: [PART]}).sized
        for cap in (0.9, 5.0)
    ]
    low, high = (sized.removal.mean for sized in sizes if sized is not None)
    assert low < high


def test_parts_are_sharpened_first_if_asked(workspace, tmp_path):
    plain, sharp = tune(workspace, request()), tune(workspace, request(sharpen=True, out=tmp_path / "edit"))
    assert list(sharp.scales) == ["h.0.mlp.c_fc:3"]
    edit = LowRankEdit.from_pretrained(tmp_path / "edit")
    read = edit.factors["h.0.mlp.c_fc"].read[0]
    old = workspace.require_parts().vectors("h.0.mlp.c_fc:3").v
    assert abs(float(torch.cosine_similarity(read, old, dim=0))) < 0.999
    assert sharp.scales != plain.scales


def test_the_models_own_text_costs_no_token(workspace):
    reply = tune(workspace, request(forget="self:de"))
    assert reply.forget_tokens == 0
    assert reply.domains[0].domain == "de"


def test_retain_is_every_other_domain_unless_named(workspace):
    others = [d for d in workspace.corpus.domains() if d != "de"]
    assert default_retain(workspace, "self:de") == tuple(others)
    mini = made(load_model("mini"), None, workspace.tokenizer, workspace.corpus)
    assert default_retain(mini, "de") == ("en", "fr", "es", "it", "code")


def test_domains_that_the_model_was_not_trained_on_are_retained_where_there_are_no_others(
    workspace, tmp_path
):
    model = load_model("mini")
    for domain in ("de", "nl"):
        (tmp_path / domain).mkdir()
        (tmp_path / domain / "a.train.txt").write_text("Een.", "utf8")
    both = made(model, None, workspace.tokenizer, DirectoryCorpus(tmp_path))
    assert default_retain(both, "de") == ("nl",)
    alone = made(model, None, workspace.tokenizer, DirectoryCorpus(tmp_path / "nl"))
    with pytest.raises(RankOneError, match="there is no domain but 'nl', and nothing else bounds the edit"):
        default_retain(alone, "nl")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"forget": "dk"}, "no text for 'dk'"),
        ({"retain": ("dk",)}, "no text for 'dk'"),
        ({"retain": ("de",)}, "'de' is on both sides"),
        ({"scale": ()}, "scale"),
        ({"budget": 0}, "budget"),
        ({"openings": ("Es",)}, "openings are for the model's own text"),
    ],
)
def test_bad_requests_are_refused(workspace, change, complaint):
    with pytest.raises(RankOneError, match=complaint):
        tune(workspace, request(**change))


def test_who_breaks_off_the_measurement_keeps_the_edit(workspace, tmp_path, monkeypatch):
    """What was fitted is saved before it is measured, and the same edit replaces it with what was measured beside it."""

    def broken_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "report", broken_off)
    with pytest.raises(KeyboardInterrupt):
        tune(workspace, request(out=tmp_path / "kept"))
    kept = LowRankEdit.from_pretrained(tmp_path / "kept")
    monkeypatch.undo()
    tune(workspace, request(out=tmp_path / "whole"))
    whole = LowRankEdit.from_pretrained(tmp_path / "whole")
    assert "measured" not in kept.provenance
    assert "measured" in whole.provenance
    for site, factors in whole.factors.items():
        assert torch.equal(kept.factors[site].write, factors.write)
