"""Runs of a benchmark on a Ray cluster of two machines, one of which is lost in mid-run."""

from __future__ import annotations

import sys

import pytest
from tests.experiments.workers.tiny import written

from rankone.core.errors import RankOneError
from rankone.experiments.bench.ledger import Ledger
from rankone.experiments.bench.run import run_bench
from rankone.experiments.workers.named import workers_named

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(monkeypatch):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_DISABLE_MEMORY_MONITOR", "1")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.extra = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


def test_a_machine_lost_in_mid_run_loses_and_doubles_nothing(
    cluster, picked, tokenizer, tmp_path_factory, monkeypatch, capsys
):
    # One rate each: of more, rounding chooses where the tiny model's are as good as each other.
    config = written(tmp_path_factory.mktemp("pair"), tokenizer).model_copy(
        update={"methods": ("scalar", "neuron", "random"), "stack": 1}
    )
    alone = run_bench(config, tmp_path_factory.mktemp("alone")).outcomes
    add, added = Ledger.add, []

    def lose_one(ledger, outcome):
        add(ledger, outcome)
        added.append(outcome.key)
        if len(added) == 1:
            cluster.remove_node(cluster.extra, allow_graceful=False)

    monkeypatch.setattr(Ledger, "add", lose_one)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    before = sys.stdout
    workers = workers_named("ray")
    shared = run_bench(config, tmp_path_factory.mktemp("shared"), workers=workers).outcomes
    workers.close()
    assert capsys.readouterr().out == ""  # a reply's alone: what Ray says of the lost machine goes elsewhere
    assert sys.stdout is before
    assert len(added) == len(set(added))
    assert [o.key for o in shared] == [o.key for o in alone]
    assert all(o.status == "ok" for o in shared)
    for one, other in zip(shared, alone, strict=True):
        assert one.fitted.test["de"].ce == pytest.approx(other.fitted.test["de"].ce, abs=1e-4)


def test_no_cluster_there_is_one_line(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(RankOneError, match=r"no Ray cluster at '127.0.0.1:1' .*ray start --head"):
        workers_named("ray")
