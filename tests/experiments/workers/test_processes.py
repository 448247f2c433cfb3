"""Runs of a benchmark shared by processes: the same results, and a process that dies costs nothing that has run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.experiments.workers.tiny import written

import rankone
from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.experiments.bench.ledger import Ledger
from rankone.experiments.bench.run import RUNS, run_bench
from rankone.experiments.config import BenchConfig
from rankone.experiments.workers.named import workers_named
from rankone.experiments.workers.processes import Processes


@pytest.fixture(scope="module")
def config(picked, tmp_path_factory, tokenizer) -> BenchConfig:
    return written(tmp_path_factory.mktemp("pair"), tokenizer)


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    return out, run_bench(config, out).outcomes


def test_two_processes_give_what_one_gives_and_run_no_code_of_the_current_folder(
    config, alone, tmp_path, monkeypatch
):
    here, out = tmp_path / "here", tmp_path / "out"
    here.mkdir()
    planted = ("tokenizers", "json", "torch", "random")
    for name in planted:
        (here / f"{name}.py").write_text(f"open({str(tmp_path / name)!r}, 'w')\n")
    monkeypatch.chdir(here)
    before, outcomes = alone
    workers = Processes(2)
    shared = run_bench(config, out, workers=workers).outcomes
    assert len(workers._children) == 2
    workers.close()
    assert not [name for name in planted if (tmp_path / name).exists()]
    assert len(shared) == len(outcomes)
    for one, other in zip(shared, outcomes, strict=True):
        assert one.status == other.status == "ok"
        if one.cell != other.cell:  # of rates as good as each other rounding chooses
            assert (one.cell.method, one.cell.budget) == (other.cell.method, other.cell.budget)
            assert one.cell.method == "lora_r1_local"
            continue
        assert one.key == other.key
        assert one.steps == other.steps
        for domain, result in other.fitted.test.items():
            assert one.fitted.test[domain].ce == pytest.approx(result.ce, abs=1e-4)
    artifact, same = (open_artifact(folder / "edits" / "scalar") for folder in (out, before))
    said, expected = ([row["rise"] for row in a.provenance["measured"]] for a in (artifact, same))
    assert said == pytest.approx(expected, abs=1e-4)
    assert (out / "edits" / "lora_r1_local").is_dir()


def test_a_process_that_dies_is_said_and_what_has_run_is_kept(config, tmp_path, monkeypatch):
    workers = Processes(2)
    add, added = Ledger.add, []

    def kill_then_add(ledger, outcome):
        add(ledger, outcome)
        added.append(outcome.key)
        if len(added) == 1:
            for child in workers._children:
                child._process.kill()

    monkeypatch.setattr(Ledger, "add", kill_then_add)
    with pytest.raises(RankOneError, match=r"worker [12] ended \(killed.*What has run is kept"):
        run_bench(config, tmp_path, workers=workers)
    assert not workers._children
    kept = {f.stem for f in (tmp_path / RUNS).glob("*.json")}
    assert kept == set(added)
    added.clear()
    monkeypatch.setattr(
        Ledger, "add", lambda ledger, outcome: (add(ledger, outcome), added.append(outcome.key))
    )
    outcomes = run_bench(config, tmp_path).outcomes
    assert all(o.status == "ok" for o in outcomes)
    assert not kept & set(added)


def test_what_a_process_refuses_is_refused_in_its_words_and_an_interrupt_ends_it(
    config, tmp_path, monkeypatch
):
    workers = Processes(1)
    results, started = workers.results, []

    def interrupted(setup, works):
        for _ in results(setup, works):
            started.extend(child._process for child in workers._children)
            raise KeyboardInterrupt
        yield

    workers.results = interrupted
    with pytest.raises(KeyboardInterrupt):
        run_bench(config, tmp_path, workers=workers)
    workers.close()
    (process,) = started
    assert process.poll() is not None

    def without_model(setup, works):
        gone = setup.config.model_copy(update={"model": str(tmp_path / "gone")})
        return results(setup.model_copy(update={"config": gone}), works)

    workers.results = without_model
    with pytest.raises(RankOneError, match="gone"):
        run_bench(config, tmp_path / "out", workers=workers)
    assert not workers._children


@pytest.mark.parametrize(
    "name", ["0", "-1", "two", "1.5", "rays", "ray://", "ray://host", "http://host:1", "99999", ""]
)
def test_what_names_no_workers_is_refused_first(name, config, tmp_path):
    recipe = _recipe(config, tmp_path)
    with pytest.raises(RankOneError, match="workers="):
        rankone.open("mini").bench(recipe, out=tmp_path / "out", workers=name)
    assert not (tmp_path / "out").exists()


def test_the_verb_takes_a_number(config, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("rankone.experiments.workers.named.workers_named", asked.append)
    reply = rankone.open("mini").bench(_recipe(config, tmp_path), out=tmp_path / "out", workers=2)
    assert asked == ["2"]
    assert reply.runs == 4
    monkeypatch.undo()
    assert workers_named("1") is None
    assert isinstance(workers_named("3"), Processes)


def _recipe(config: BenchConfig, folder: Path) -> Path:
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**config.model_dump(mode="json"), "methods": ["scalar_zero"]}))
    return recipe
