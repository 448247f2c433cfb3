"""Find on the built-in model: every source has a row, the rule holds, what is measured is what the edit does."""

from __future__ import annotations

import pytest
from tests.helpers import llama

from rankone.core.errors import RankOneError
from rankone.edits.finding.candidates import late_sites
from rankone.edits.finding.find import find, find_parts
from rankone.edits.finding.found import Found
from rankone.edits.finding.names import FINDABLE
from rankone.edits.finding.request import FindConfig
from rankone.edits.finding.several import fitted_steps
from rankone.edits.finding.text import read_text, spread_blocks
from rankone.edits.finding.together import ORIGIN, pair_parts
from rankone.edits.finding.tolerances import Tolerances
from rankone.edits.scales import scale_edit
from rankone.metrics.cross_entropy import cross_entropies
from rankone.models.loading import load_model, load_tokenizer
from rankone.parts.book import Book
from rankone.parts.parts import load_parts
from rankone.text.sources.builtin import BuiltinCorpus
from rankone.workspace import Workspace


@pytest.fixture(scope="module")
def workspace():
    return Workspace(load_model("mini"), load_tokenizer("mini"), BuiltinCorpus())


REQUEST = FindConfig(
    of="fr",
    against=("en", "es"),
    sites=("h.3.mlp.down_proj",),
    also=("neuron/h.3.mlp.down_proj:270",),
    shortlist=1,
    tokens=400,
    rank_tokens=40,
    tolerance=Tolerances(domains={}, other=0.1),
    enough=1.0,
    refine=0,
)


@pytest.fixture(scope="module")
def answer(workspace, tmp_path_factory):
    out = tmp_path_factory.mktemp("find") / "parts"
    return find(workspace, REQUEST.model_copy(update={"out": out})), out


def test_every_source_has_a_best_part(answer):
    found, _ = answer
    best = found.best_of_each_source()
    assert {row.source for row in best} == set(FINDABLE) - {"decomposition", "channel"}
    assert best[0] == found.pick == found.parts[0]
    assert found.winner == found.pick.source
    assert found.named("neuron/h.3.mlp.down_proj:270").site == "h.3.mlp.down_proj"
    assert Found.checked(found.model_dump(), "copy") == found


def test_the_rule_holds_for_all(answer):
    found, _ = answer
    for row in found.parts:
        assert REQUEST.tolerance.strain(row.others, row.about) <= 1
        assert set(row.others) == {"en", "es"}
        assert row.removed == (found.base["fr"] + row.rise >= 0.98 * found.chance)
    enough = found.chance - found.base["fr"]
    rises = [min(row.rise, enough) for row in found.parts]
    assert rises == sorted(rises, reverse=True)


def test_what_is_said_is_what_the_saved_part_does(answer, workspace):
    found, out = answer
    book = Book(load_parts(out, workspace.model))
    text = read_text(workspace, REQUEST).validation
    before = cross_entropies(workspace.model, text)
    assert before == pytest.approx(found.base, abs=1e-4)
    for row in (found.parts[0], found.parts[-1]):
        with scale_edit(book, {row.part: row.alpha}).applied(workspace.model):
            after = cross_entropies(workspace.model, text)
        assert after["fr"] - before["fr"] == pytest.approx(row.rise, abs=1e-3)
        assert after["about-fr"] - before["about-fr"] == pytest.approx(row.about, abs=1e-3)
        for domain, rise in row.others.items():
            assert after[domain] - before[domain] == pytest.approx(rise, abs=1e-3)


def test_closed_forms_beat_random_directions(answer):
    best = {row.source: row.rise for row in answer[0].best_of_each_source()}
    assert max(best["contrast"], best["discriminant"], best["means"]) > best["random"] + 0.2


def test_sharpened_parts_leak_less_and_write_the_same(answer, workspace):
    found, out = answer
    book = Book(load_parts(out, workspace.model), workspace.model)
    (row,) = [r for r in found.parts if r.source == "sharpened"]
    assert row.part.startswith("sharpened-neuron-fr/h.3.mlp.down_proj:")
    raw = f"neuron/{row.part.partition('/')[2]}"
    assert book.vectors(row.part).u.equal(book.vectors(raw).u)
    assert row.separation > found.named(raw).separation


def test_that_there_is_less_text_than_was_asked_for_is_said(workspace, caplog):
    with caplog.at_level("INFO", "rankone"):
        read_text(workspace, REQUEST)
        assert not caplog.messages
        text = read_text(workspace, REQUEST.model_copy(update={"rank_tokens": 10_000_000}))
    assert len(caplog.messages) == 3
    assert caplog.messages[0].startswith(
        f"the validation text of 'fr': {text.validation['fr'].tokens:,} tokens of 10,000,000 wanted"
    )


def test_passages_come_from_all_over_a_split(workspace):
    one, other = (spread_blocks(workspace, "fr", "train", 300, seed) for seed in (0, 1))
    assert one.tokens == other.tokens == 300
    assert not one.ids[:2, :20].equal(other.ids[:2, :20])
    assert len(one.ids) >= 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"against": ("fr", "en")}, "name domains to spare beside 'fr'"),
        ({"against": ("xx",)}, "no text for 'xx'"),
        ({"also": ("neuron/h.0.mlp.down_proj:1",)}, "lies in none of the searched sites"),
        ({"sources": ("decomposition",)}, "needs parts of the model"),
    ],
)
def test_what_cannot_be_found_is_refused(workspace, changes, said):
    with pytest.raises(RankOneError, match=said):
        find(workspace, REQUEST.model_copy(update=changes))


def test_moments_taken_before_are_not_taken_again(workspace, monkeypatch):
    asked = REQUEST.model_copy(update={"sources": ("means",), "also": (), "rank_tokens": 20})
    known = {}
    first, _ = find_parts(workspace, asked, known)
    assert set(known) == {"fr", "en", "es", "about-fr"}
    monkeypatch.setattr("rankone.edits.finding.find.collect_moments", None)
    again, _ = find_parts(workspace, asked, known)
    assert again.parts == first.parts


def test_unknown_sources_are_named():
    with pytest.raises(RankOneError, match=r"unknown source 'neurons'.*Nearest: neuron"):
        FindConfig.checked({"of": "fr", "sources": ["neurons"]}, "here")


def test_large_models_are_searched_from_the_middle_on(workspace):
    names = {site.name for site in late_sites(llama(layers=10))}
    assert "model.layers.5.mlp.down_proj" in names
    assert not any(name.startswith("model.layers.4.") for name in names)
    assert len(late_sites(workspace.model)) == 24
    assert [s.name for s in late_sites(workspace.model, ["h.2.mlp.c_fc"])] == ["h.2.mlp.c_fc"]


def test_a_pair_does_more_than_its_first_part_and_moves_by_one_number(workspace, tmp_path):
    request = REQUEST.model_copy(
        update={
            "sources": ("neuron", "discriminant"),
            "also": (),
            "together": True,
            "out": tmp_path / "parts",
        }
    )
    search, book = find_parts(workspace, request)
    pair = search.pair
    assert pair is not None
    assert next(iter(pair.steps)) == search.pick.part
    assert REQUEST.tolerance.strain(pair.others, pair.about) <= 1
    parts, names = pair_parts(pair, "fr", book), list(pair.names)
    assert parts.names() == names == [f"{ORIGIN}-fr/h.3.mlp.down_proj:{i}" for i in range(2)]
    text = read_text(workspace, request).validation
    rises = {}
    for kind, edit in {
        "apart": scale_edit(book, {name: 1 + step for name, step in pair.steps.items()}),
        "together": scale_edit(parts, dict.fromkeys(names, 0.0)),
    }.items():
        with edit.applied(workspace.model):
            rises[kind] = cross_entropies(workspace.model, text)["fr"] - search.base["fr"]
    assert rises["apart"] == pytest.approx(pair.rise, abs=1e-3)
    assert rises["together"] == pytest.approx(pair.rise, abs=1e-3)


@pytest.fixture(scope="module")
def several(workspace):
    asked = FindConfig(
        of="de",
        against=("en", "fr", "code"),
        sites=("h.[23].mlp.down_proj", "h.3.attn.v_proj"),
        sources=("discriminant", "neuron", "random"),
        shortlist=1,
        tokens=1200,
        rank_tokens=120,
        tolerance=Tolerances(domains={}, other=0.05),
        refine=1,
        several=2,
    )
    return asked, *find_parts(workspace, asked)


def test_parts_found_together_do_more_than_the_best_alone(several):
    _, found, _ = several
    assert found.pair is not None
    assert len(found.pair.steps) == len(found.pair.names) == 2
    assert found.chosen_pair == found.pair
    assert found.pair.rise > found.pick.rise + 0.1
    assert found.pair.worst <= 0.05
    assert found.turned == " + ".join(found.pair.steps)
    assert "2 parts by one number" in "\n".join(found.lines())


def test_what_is_said_of_parts_together_is_what_their_one_number_does(several, workspace):
    asked, found, book = several
    text = read_text(workspace, asked).validation
    before = cross_entropies(workspace.model, text)
    one_number = dict.fromkeys(found.pair.names, 0.0)
    with scale_edit(pair_parts(found.pair, "de", book), one_number).applied(workspace.model):
        after = cross_entropies(workspace.model, text)
    assert after["de"] - before["de"] == pytest.approx(found.pair.rise, abs=1e-3)
    for domain, rise in found.pair.others.items():
        assert after[domain] - before[domain] == pytest.approx(rise, abs=1e-3)


def test_steps_fitted_together_move_from_where_they_start(several, workspace):
    asked, _, book = several
    text = read_text(workspace, asked)
    start = {name: -2.0 for name in book.names() if name.startswith("discriminant-de/")}
    assert len(start) == 3
    still = fitted_steps(workspace, book, start, text, 1)
    assert all(abs(step + 2) == pytest.approx(0.25, rel=0.01) for step in still.values())


def test_closed_forms_of_several_sites_are_measured(workspace):
    asked = REQUEST.model_copy(
        update={"sites": ("h.[0-3].mlp.down_proj",), "also": (), "sources": ("discriminant", "random")}
    )
    one, _ = find_parts(workspace, asked)
    every, _ = find_parts(workspace, asked.model_copy(update={"sites_measured": 4}))
    assert [row.source for row in one.parts].count("discriminant") == 1
    assert {row.site for row in every.parts if row.source == "discriminant"} == set(every.sites)
    assert [row.source for row in every.parts].count("random") == 1
    assert every.pick.rise >= one.pick.rise
