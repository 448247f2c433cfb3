"""vLLM's rules on the files that are written, and on those of others."""

from __future__ import annotations

import json

import pytest
import torch
from tests.helpers import llama

from rankone.core.errors import RankOneError
from rankone.edits.adapter_files import write_adapter
from rankone.edits.lowrank import Factors
from rankone.edits.serving.vllm import vllm_serving

SITES = ("model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj")


def written(folder, *ranks):
    factors = {
        site: Factors(torch.ones(24, rank), torch.ones(rank, 40))
        for site, rank in zip(SITES, ranks, strict=False)
    }
    write_adapter(llama(), factors, folder, "base")
    return folder


def changed(folder, **values):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf8")), **values}), "utf8")
    return folder


@pytest.mark.parametrize(("ranks", "bound"), [((1,), 1), ((2, 9), 16), ((3, 1), 8), ((257,), 320)])
def test_what_is_exported_is_served_whatever_its_ranks(tmp_path, ranks, bound):
    made = vllm_serving(written(tmp_path, *ranks))
    assert (made.max_lora_rank, made.refused) == (bound, ())
    assert f"--max-lora-rank {bound}" in made.said


def test_every_bound_is_one_of_vllms(tmp_path):
    """The values of --max-lora-rank in vllm.config.lora (MaxLoRARanks)."""
    folder = written(tmp_path, 2)
    for bound in (1, 8, 16, 32, 64, 128, 256, 320, 512):
        made = vllm_serving(changed(folder, r=bound, lora_alpha=bound))
        assert (made.max_lora_rank, made.refused) == (bound, ())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"r": 513}, "its rank is 513, at most 512"),
        ({"alpha_pattern": {"down_proj": 7}}, "different scales"),
        ({"modules_to_save": ["lm_head"]}, "modules saved whole"),
        ({"use_dora": True}, "DoRA"),
        ({"bias": "all"}, "biases"),
    ],
)
def test_what_breaks_a_rule_is_named(tmp_path, values, words):
    made = vllm_serving(changed(written(tmp_path, 2), **values))
    assert any(words in said for said in made.refused)
    assert made.said.startswith("vLLM does not serve it")


def test_an_architecture_of_ours_is_not_served(tmp_path):
    assert "own architecture" in vllm_serving(written(tmp_path, 2), remote_code=True).said


def test_a_damaged_file_is_refused(tmp_path):
    with pytest.raises(RankOneError, match="is damaged"):
        vllm_serving(changed(written(tmp_path, 2), lora_alpha="many"))
