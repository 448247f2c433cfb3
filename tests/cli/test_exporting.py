"""Exports, and texts with and without an edit, from the command line."""

from __future__ import annotations

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
