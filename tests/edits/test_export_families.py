"""Exports of edits on every family, reloaded in a fresh process: a checkpoint and an adapter."""

from __future__ import annotations

import pytest
from tests.helpers import random_edit, tokenizer
from tests.models.families import FAMILIES

from rankone.edits.export import export_adapter, export_checkpoint

# A new Python process loads each export: minutes in all.
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("family", list(FAMILIES))]


def edited(family):
    model = FAMILIES[family][0]()
    return model, random_edit(model, {"*": 2}).bind(model)


def test_a_checkpoint_reloads_to_the_edited_logits(family, tmp_path):
    model, edit = edited(family)
    found = export_checkpoint(model, tokenizer(), edit, tmp_path / "out")
    assert found.file_difference <= 1e-4


def test_an_adapter_reloads_to_the_edited_logits(family, tmp_path):
    model, edit = edited(family)
    model.save_pretrained(tmp_path / "base")
    found = export_adapter(model, edit, tmp_path / "out", str(tmp_path / "base"))
    assert found.file_difference <= 1e-4
