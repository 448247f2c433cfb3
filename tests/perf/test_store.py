"""The benchmark of the store's size: what is simulated comes out as asked for, and its figures from counts by hand."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
import torch
from perf.cases import SIZES, Size
from perf.figures import dense_bytes
from perf.growth import Growth, Table, power
from perf.simulated import densities, simulated

from perf import store
from rankone.decomposition.model import DecomposedModel
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.plan import batches
from rankone.text.sources.builtin import BuiltinCorpus

TINY = Size(
    {
        "vocab_size": 500,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 64,
    },
    {"*.attn.*": 20, "*.mlp.*": 60},
    {},
    "random",
)
ALIVE, ACTIVE = 120, 9.0


@pytest.fixture(scope="module")
def world():
    corpus, domains = BuiltinCorpus(), ["de", "code"]
    tokenizer = store.words(corpus, domains, 2000, TINY.target["vocab_size"])
    config = HarvestConfig(domains=tuple(domains), tokens=2000, context=64, batch_tokens=512)
    plan = list(batches(tokenizer, corpus, config))
    return tokenizer, plan, *simulated(TINY, plan, ALIVE, ACTIVE, 0.01)


def test_densities_add_up_and_have_a_long_tail():
    found = densities(1000, 20.0, 1e-4, torch.Generator().manual_seed(0))
    assert float(found.sum()) == pytest.approx(20.0, rel=1e-4)
    assert found.min() >= 0.99e-4
    assert found.max() > 0.5
    assert found.median() < 0.005
    assert not torch.equal(found, found.sort().values)


def test_as_many_fire_as_often_as_asked_for(world):
    _, plan, target, decomposition = world
    fires = []
    with DecomposedModel(target, decomposition) as model:
        for batch in plan:
            g = model.importance(batch.blocks.ids, batch.blocks.present)
            assert ((g >= 0) & (g <= 1)).all()
            fires.append(g[batch.blocks.valid] > 0.1)
    fired = torch.cat(fires)
    assert float(fired.sum(1).float().mean()) == pytest.approx(ACTIVE, rel=0.1)
    assert int(fired.any(0).sum()) == ALIVE
    # What fires at a position fires at the next one more often than at any.
    again = (fires[0][1:] & fires[0][:-1]).float().sum() / fires[0][:-1].sum()
    assert again > 2 * float(fired.float().mean())


def test_next_tokens_follow_the_bigrams(world):
    _, plan, target, _ = world
    ids, valid = plan[0].blocks.ids, plan[0].blocks.valid
    found = target(input_ids=ids).logits.log_softmax(-1)
    own = found[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)[valid[:, 1:]].mean()
    counts = torch.cat([b.blocks.ids[b.blocks.valid] for b in plan]).bincount(minlength=500).double()
    frequency = counts / counts.sum()
    entropy = -(frequency * frequency.clamp_min(1e-9).log()).sum()
    assert -own < entropy - 0.5


def test_growth_by_hand():
    tables = {"inputs": Table(2.0, 10, 0.5, 25), "cofiring": Table(3.0, 4, 0.0, 6)}
    known = Growth(100, tables, 50.0, 8, 4.0, 1000, np.array([1, 6]))
    windows = 50 * (4 + 8)
    assert known.bytes_at(400) == pytest.approx(1000 + 4 * 400 + windows + 2 * 20 + 3 * 4)
    assert known.bounds() == {"inputs": 50.0, "cofiring": 18.0, "examples": 800.0}
    at = known.tokens_at(10_000)
    assert at is not None
    assert known.bytes_at(at) == pytest.approx(10_000)
    assert Growth(100, tables, 50.0, 8, 0.0, 1000, np.array([1, 6])).tokens_at(10_000) is None
    assert power((10, 1000), (5, 50)) == pytest.approx(0.5)


def test_the_dense_layout_of_the_published_shapes():
    assert dense_bytes(38_912, 50_277, 1000, 20) == 15_651_028_992 + 6_056_574_976 + 19_144_704_000


def test_the_command_measures_three_sizes(world, monkeypatch, tmp_path, capsys):
    tokenizer, *_ = world
    monkeypatch.setitem(SIZES, "tiny", TINY)
    (tmp_path / "words.json").write_text(tokenizer.backend_tokenizer.to_str(), "utf8")
    out = tmp_path / "store.json"
    options = f"--size tiny --tokens 450 --domains de,code --alive {ALIVE} --l0 {ACTIVE} --bos [bos]"
    names = ["--tokenizer", str(tmp_path / "words.json"), "--out", str(out), "--scratch", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["store", *options.split(), *names])
    store.main()
    found = json.loads(out.read_text("utf8"))
    assert [m["tokens"] for m in found["measured"]] == [100, 300, 900]
    last = found["measured"][-1]
    assert last["l0"] == pytest.approx(ACTIVE, rel=0.2)
    assert last["dense_bytes"] == dense_bytes(sum([80, 120]), 500, 1000, 20)
    assert last["dense_bytes_of_the_alive"] == dense_bytes(last["alive"], 500, 1000, 20)
    assert last["dense_over_store"] == pytest.approx(last["dense_bytes"] / last["bytes"], abs=0.06)
    assert last["bytes"] == sum(last["bytes_by_file"].values())
    beyond = found["extrapolated"]
    assert beyond["samples_all_full"]["dense_over_store"] < last["dense_over_store"]
    assert not math.isnan(beyond["powers_of_the_text"]["inputs"])
    assert found["config"]["text"] == "builtin"
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []
    capsys.readouterr()
