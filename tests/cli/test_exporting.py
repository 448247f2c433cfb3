"""Exports, and texts with and without an edit, from the command line."""

from __future__ import annotations

import json

import pytest
import torch
from tests.cli.commands import shown
from tests.tiny import rankone

from rankone.core.artifact import open_artifact
from rankone.edits.lowrank import LowRankEdit
from rankone.models.loading import load_model


def test_export_writes_a_checkpoint(pair, tuned, exported):
    path, outcome = exported
    assert "reloaded in a fresh process" in " ".join(shown(outcome).split())
    artifact = open_artifact(path, "model")
    assert artifact.json("verification.json")["file_difference"] <= 1e-4
    base = load_model(pair[0])
    with LowRankEdit.from_pretrained(tuned[0]).applied(base):
        for name, value in load_model(path).named_parameters():
            assert torch.allclose(value, base.get_parameter(name), atol=1e-6), name


@pytest.mark.usefixtures("here")
def test_export_writes_an_adapter(pair, tuned, tmp_path):
    said = shown(rankone("export", tuned[0], "--model", pair[0], "--out", tmp_path / "a", "--as", "adapter"))
    assert "peft" in said
    config = open_artifact(tmp_path / "a", "adapter").json("adapter_config.json")
    assert sorted(config["target_modules"]) == ["h.0.attn.v_proj", "h.0.mlp.c_fc"]


def test_generate_with_and_without_the_edit(pair, tuned, exported):
    words = ["The committee", "--tokens", 12]
    plain = shown(rankone("generate", *words, "--model", pair[0]))
    edited = shown(rankone("generate", *words, "--model", pair[0], "--edit", tuned[0]))
    merged = shown(rankone("generate", *words, "--model", exported[0]))
    assert plain.startswith("The committee")
    assert edited == merged
    assert plain == shown(rankone("generate", *words, "--model", pair[0]))


def test_measure_before_and_after_an_edit(pair, tuned, exported, tmp_path):
    """What it changes is what the exported model has, and the model without it is as it was."""
    words = ["--tokens", 60, "--json"]
    plain = json.loads(shown(rankone("measure", pair[0], *words)))
    merged = json.loads(shown(rankone("measure", exported[0], *words)))
    out = tmp_path / "measured.json"
    edited = json.loads(shown(rankone("measure", pair[0], "--edit", tuned[0], *words, "--out", out)))
    assert edited["ce"] == pytest.approx(merged["ce"], abs=1e-4)
    assert plain["damage"] == []
    for damage in edited["damage"]:
        domain = damage["domain"]
        assert damage["base"] == pytest.approx(plain["ce"][domain])
        assert damage["rise"] == pytest.approx(merged["ce"][domain] - plain["ce"][domain], abs=1e-4)
    assert json.loads(out.read_text("utf8"))["edit"] == str(tuned[0])
    table = shown(rankone("measure", pair[0], "--edit", tuned[0], "--tokens", 60))
    assert {"before", "after", "rise"} <= set(table.split())


def test_measure_refuses_the_edit_of_another_model(tuned):
    done = rankone("measure", "mini", "--edit", tuned[0], "--tokens", 60)
    assert done.code == 2
    assert "it was made for another model" in done.err


def test_measure_reads_the_domains_asked_for(pair):
    words = ["--tokens", 60, "--json"]
    whole = json.loads(shown(rankone("measure", pair[0], *words)))
    some = json.loads(shown(rankone("measure", pair[0], "--domains", "nl,fr", *words)))
    assert list(some["ce"]) == ["nl", "fr"]
    assert some["ce"] == {domain: whole["ce"][domain] for domain in ("nl", "fr")}
    refused = rankone("measure", pair[0], "--domains", "dutch", *words)
    assert "no text for 'dutch'" in refused.err
