"""Ranking and tuning from the command line."""

from __future__ import annotations

import re

import pytest
from tests.cli.commands import COMPONENTS, cells, shown, tuning
from tests.tiny import rankone

from rankone.core.artifact import open_artifact
from rankone.edits.lowrank import LowRankEdit
from rankone.models.loading import load_model


def test_rank_lists_the_most_specific(pair):
    words = ["--of", "de", "--domains", "de,en,fr", "--tokens", 200, "--top", 3]
    said = shown(rankone("rank", pair[0], "--decomposition", pair[1], *words))
    assert "Most specific to de" in said
    rows = [re.findall(r"h\.0\.\S+:\d+|-?\d\.\d{3}", line) for line in said.splitlines() if "h.0." in line]
    assert len(rows) == 3
    scores = [float(row[1]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for _, score, de, en, fr in rows:
        assert float(score) == pytest.approx(float(de) - max(float(en), float(fr)), abs=0.0016)


def test_tune_fits_and_saves_the_edit(pair, tuned):
    path, outcome = tuned
    said = shown(outcome)
    edit = LowRankEdit.from_pretrained(path)
    assert edit.sites == ("h.0.attn.v_proj", "h.0.mlp.c_fc")
    edit.check_base(load_model(pair[0]))
    provenance = open_artifact(path, "edit").provenance
    assert {k: provenance[k] for k in ("forget", "retain", "budget", "steps")} == {
        "forget": "de",
        "retain": ["en", "fr"],
        "budget": 6,
        "steps": 4,
    }
    alphas = [float(cells(said, name)[1].replace("−", "-")) for name in COMPONENTS.split(",")]
    assert all(alpha != 1 for alpha in alphas)
    assert all(f"{name} × " in edit.description for name in COMPONENTS.split(","))
    for domain in ("de", "en", "fr", "es", "it", "nl", "sv", "code"):
        role, *numbers = cells(said, domain)[1:5]
        before, after, rise = (number.replace("−", "-") for number in numbers)
        assert role == {"de": "forget", "en": "retain", "fr": "retain"}.get(domain, "off-target")
        assert float(rise) == pytest.approx(float(after) - float(before), abs=0.0011)
    assert f"saved {path}" in said.replace("\n", "")


def test_the_seed_decides_the_forget_text(pair, tuned):
    fit = ["--retain", "fr", "--budget", 6, "--steps", 4, "--learning-rate", 0.5]
    again, other = (shown(rankone(*tuning(pair, *fit, "--seed", seed))) for seed in (0, 1))
    first = shown(tuned[1])
    assert cells(again, "h.0.mlp.c_fc:3") == cells(first, "h.0.mlp.c_fc:3")
    assert cells(other, "h.0.mlp.c_fc:3") != cells(first, "h.0.mlp.c_fc:3")
