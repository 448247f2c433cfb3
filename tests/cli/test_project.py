"""rankone project: a LoRA in terms of the parts of a decomposition, saved as edits that give the LoRA again."""

from __future__ import annotations

import json

import pytest
from tests.tiny import rankone, write_pair

from rankone.edits.adapter_files import write_adapter
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.scales import scale_edit
from rankone.models.loading import load_model
from rankone.parts.book import Book


@pytest.fixture(scope="module")
def lora(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("project")
    model, decomposition = write_pair(folder, tokenizer, len(tokenizer))
    loaded = load_model(model)
    edit = scale_edit(Book([], loaded), {"neuron/h.0.mlp.down_proj:3": -4.0})
    (folder / "lora").mkdir()
    write_adapter(loaded, edit.factors, folder / "lora", str(model))
    return folder / "lora", model, decomposition


@pytest.mark.parametrize("norm", ["frobenius", "text"])
def test_a_lora_is_read_as_scales(lora, norm, tmp_path):
    adapter, model, decomposition = lora
    words = ["project", adapter, "--model", model, "--decomposition", decomposition, "--sources", "neuron"]
    more = ["--norm", norm, "--keep", 1, "--tokens", 30, "--out", tmp_path / "edit", "--json"]
    done = rankone(*words, *more)
    assert done.code == 0, done.err
    said = json.loads(done.out)
    (part,) = said["parts"]
    assert part["part"] == "neuron/h.0.mlp.down_proj:3"
    assert part["alpha"] == pytest.approx(-4, abs=1e-3)
    assert said["explained"] == pytest.approx(1, abs=1e-4)
    assert [d["rise"] for d in said["adapter_damage"]] == pytest.approx(
        [d["rise"] for d in said["projection_damage"]], abs=1e-4
    )
    LowRankEdit.from_pretrained(tmp_path / "edit").check_base(load_model(model))
    card = json.loads(rankone("push", tmp_path / "edit", "me/thing", "--dry-run", "--json").out)["card"]
    assert "## Damage, on held-out text" in card
    assert card.count("| de |") == 1


def test_what_is_no_adapter_or_no_source_is_refused(lora, tmp_path):
    adapter, model, _ = lora
    assert "no folder at" in rankone("project", tmp_path / "gone", "--model", model).err
    assert "are made from text" in rankone("project", adapter, "--model", model, "--sources", "means").err
