"""rankone rewrite: a part writes a token; refused where tokens have no direction."""

from __future__ import annotations

import json

import pytest
from tests.tiny import rankone, write_pair

from rankone.edits.lowrank import LowRankEdit
from rankone.models.loading import load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer):
    return write_pair(tmp_path_factory.mktemp("rewrite"), tokenizer, len(tokenizer))[0]


@pytest.mark.parametrize("train", [0, 2])
def test_an_edit_is_measured_and_saved(model, train, tmp_path):
    words = ["rewrite", "neuron/h.0.mlp.down_proj:3", "--model", model, "--token", " the", "--tokens", 60]
    found = ["--train", train] if train else ["--sizes", "1,30"]
    more = ["--fires", 0.05, "--aim", 0.02, "--out", tmp_path / "edit", "--json"]
    done = rankone(*words, *found, *more)
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["taken"] in said["tried"]
    assert said["direction"] == ("trained" if train else "unembedding")
    assert said["taken"]["probability"] > said["before"]
    LowRankEdit.from_pretrained(tmp_path / "edit").check_base(load_model(model))


def test_what_has_no_direction_is_refused(model):
    words = ["--model", model, "--token", " the", "--tokens", 40]
    assert (
        "does not write to the residual stream" in rankone("rewrite", "singular/h.0.mlp.c_fc:0", *words).err
    )
    assert "has no token 'zzzz'" in rankone("rewrite", "neuron/h.0.mlp.down_proj:3", *words[:3], "zzzz").err
