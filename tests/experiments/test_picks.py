"""The comparison of picks: trade-offs by hand, and the whole way on a tiny model with made-up counts."""

from __future__ import annotations

import json

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.harvest.counted import Counted
from tests.helpers import workspace
from tests.labels.written import labelled, written
from tests.tiny import tiny_model

from rankone.core.errors import RankOneError
from rankone.edits.scales import scale_edit
from rankone.experiments.measure import edited_cross_entropies
from rankone.experiments.picks import (
    TargetPick,
    TradeOff,
    compare_picks,
    picks_table,
    trade_off,
    write_picks,
)
from rankone.experiments.requests import PicksRequest
from rankone.experiments.response import scale_response
from rankone.metrics.cross_entropy import cross_entropies
from rankone.text.blocks import passage_blocks


def rows(**rises):
    """Keyword m2=(de, en, fr) is α = −2."""
    return [
        {"alpha": float(key.replace("m", "-").lstrip("a")), "domain": d, "rise": rise}
        for key, own in rises.items()
        for d, rise in zip(("de", "en", "fr"), own, strict=True)
    ]


def test_trade_off_takes_the_largest_rise_that_spares_the_others():
    measured = rows(m8=(3.0, 0.01, 0.06), m4=(1.0, -0.5, 0.049), a0=(0.2, 0.0, 0.0), a3=(-1.0, 0.0, 0.0))
    assert trade_off("c", measured, "de", 0.05) == TradeOff("c", -4.0, 1.0, 0.049, "fr")
    assert trade_off("c", measured, "de", 0.07).alpha == -8.0
    assert (
        trade_off("c", measured, "fr", 0.05).rise == 0.0
    )  # only where de does not rise: α = 3 changes nothing
    assert trade_off("c", rows(m8=(3.0, 1.0, 1.0)), "de", 0.05) == TradeOff("c", 1.0, 0.0, 0.0, "")


def found(*rises, pick):
    candidates = [TradeOff(f"c:{i}", -4.0, rise, 0.01, "en") for i, rise in enumerate(rises)]
    return TargetPick("de", f"c:{pick}", "German [b]words", candidates)


def test_places_and_the_report(tmp_path):
    assert [found(3.0, 2.0, 2.0, 1.0, pick=i).place for i in range(4)] == [1, 2, 2, 4]
    out = tmp_path / "picks.json"
    picks = [found(3.0, 2.0, pick=0), found(3.0, 2.0, pick=1)]
    table = picks_table(picks, PicksRequest())
    assert "1 of 2 picks are the best" in table.caption
    assert table.column("label") == ["German [b]words"] * 2
    assert table.column("place") == [1, 2]
    write_picks(out, picks, PicksRequest())
    saved = json.loads(out.read_text("utf8"))
    assert (saved["best"], saved["config"]["candidates"]) == (1, 20)
    assert saved["targets"]["de"]["candidates"][1]["rise"] == 2.0
    with pytest.raises(RankOneError, match="already exists"):
        write_picks(out, picks, PicksRequest())


@pytest.fixture(scope="module")
def tiny(tokenizer):
    model = tiny_model(len(tokenizer))
    return model, decomposed(model, "random")


def test_response_rows_are_those_of_the_edits(tiny, tokenizer, corpus):
    model, decomposition = tiny
    text = {
        d: passage_blocks(tokenizer, corpus.documents(d, "validation", 400), 32).take(40)
        for d in ("de", "en")
    }
    base, members = cross_entropies(model, text), ["h.0.mlp.c_fc:1", "h.0.attn.o_proj:2"]
    measured = scale_response(workspace(model, decomposition), members, [-3.0, 1.0], text)
    edited = edited_cross_entropies(model, scale_edit(decomposition, dict.fromkeys(members, -3.0)), text)
    assert [(r["alpha"], r["domain"], r["ce"]) for r in measured] == [
        (-3.0, "de", edited["de"]),
        (-3.0, "en", edited["en"]),
        (1.0, "de", base["de"]),
        (1.0, "en", base["en"]),
    ]
    assert [r["rise"] for r in measured[2:]] == [0.0, 0.0]


def test_the_whole_way(tiny, tokenizer, corpus):
    model, decomposition = tiny
    names = decomposition.names()[:3]
    store = Counted({"de": 100, "en": 100}, {names[0]: (90, 2), names[1]: (60, 1), names[2]: (50, 50)})
    labels = labelled(dict(zip(names, [("text", 0.9), ("German words", 0.9), ("text", 0.9)], strict=True)))
    config = PicksRequest(targets=("de",), alphas=(-4.0, 5.0), tokens=30, candidates=2, tolerance=10.0)
    (pick,) = compare_picks(workspace(model, decomposition, tokenizer, corpus), store, labels, config)
    assert pick.pick == names[1]  # the other one is not labelled as German
    assert {c.part for c in pick.candidates} == set(names[:2])
    rises = [c.rise for c in pick.candidates]
    assert rises == sorted(rises, reverse=True)
    assert pick.place == 1 + (pick.picked.rise < max(rises))
    blocks = {
        d: passage_blocks(tokenizer, corpus.documents(d, "validation", 240), 64).take(30)
        for d in ("de", "en")
    }
    base = cross_entropies(model, blocks)
    with torch.no_grad():
        best = max(
            edited_cross_entropies(model, scale_edit(decomposition, {names[1]: a}), blocks)["de"] - base["de"]
            for a in config.alphas
        )
    assert pick.picked.rise == pytest.approx(max(best, 0.0), abs=1e-5)


def test_an_unknown_target_is_refused_before_anything_is_measured(tiny, tokenizer, corpus):
    model, decomposition = tiny
    store = Counted({"de": 100, "en": 100}, {decomposition.names()[0]: (90, 2)})
    with pytest.raises(RankOneError, match="no importances for 'dk'"):
        compare_picks(
            workspace(model, decomposition, tokenizer, corpus),
            store,
            written(),
            PicksRequest(targets=("dk",)),
        )
