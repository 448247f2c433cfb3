"""The importance coefficient over five values: what is scaled, what is run, and what is not run again."""

from __future__ import annotations

from functools import partial

import pyarrow.parquet as pq
import pytest
from tests.decomposition.tiny import recipe, target
from tests.helpers import VOCAB, laddered
from tests.helpers import tokenizer as small_tokenizer

from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.decomposition import run as run_module
from rankone.decomposition import sweep as module
from rankone.decomposition.evidence.records import evidence_of
from rankone.decomposition.sweep import FACTORS, scaled, sweep
from rankone.subject import Subject
from rankone.text.sources.builtin import BuiltinCorpus


@pytest.fixture
def quick(monkeypatch):
    """A few tokens of evidence and one step of PGD."""
    monkeypatch.setattr(run_module, "evidence_text", partial(run_module.evidence_text, tokens=40))
    monkeypatch.setattr(run_module, "account_on", laddered(run_module.account_on, (1,)))
    monkeypatch.setattr(run_module, "HARVEST_ROWS", 4)


def run_sweep(folder, config, out="out"):
    subject = Subject(target(vocab_size=VOCAB), small_tokenizer(), BuiltinCorpus())
    return sweep(config, subject, folder / "run", folder / out)


def test_five_values_lie_evenly_around_the_recipe_in_log_space():
    assert FACTORS == (0.25, 0.5, 1.0, 2.0, 4.0)
    config = recipe(minimality__activity=3e-4, minimality__frequency=1e-4)
    own = scaled(config, 2.0)
    assert own.minimality.activity == pytest.approx(6e-4)
    assert own.minimality.frequency == pytest.approx(2e-4)
    assert own.model_copy(update={"minimality": config.minimality}) == config
    assert scaled(config, 1.0) == config


def test_a_sweep_cut_off_goes_on_and_writes_its_table_and_figure(tmp_path, monkeypatch, quick):
    monkeypatch.setattr(module, "FACTORS", (0.5, 2.0))
    config, made, real = recipe(steps=2, context=16, rows=2), [], module.decompose

    def counted(own, *rest, **more):
        if (
            len(made) == 1
            and own.minimality.activity > config.minimality.activity
            and not (tmp_path / "go").exists()
        ):
            raise KeyboardInterrupt
        made.append(own.minimality.activity)
        return real(own, *rest, **more)

    monkeypatch.setattr(module, "decompose", counted)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(tmp_path, config)
    assert not (tmp_path / "out").exists()
    (tmp_path / "go").touch()
    rows = run_sweep(tmp_path, config)
    assert made == pytest.approx([1e-4, 4e-4])  # the first was not made twice
    assert [row.factor for row in rows] == [0.5, 2.0]
    saved = pq.read_table(tmp_path / "out" / "sweep.parquet").to_pylist()
    assert saved == [row.model_dump() for row in rows]
    assert open_artifact(tmp_path / "out", "sweep").provenance["recipe"] == config.model_dump()
    assert (tmp_path / "out" / "frontier.svg").read_text("utf8").rstrip().endswith("</svg>")
    for row in rows:
        found = open_artifact(tmp_path / "run" / f"factor-{row.factor:g}" / "decomposition", "decomposition")
        assert evidence_of(found).l0_total == row.l0
        assert found.provenance["recipe"]["minimality"]["activity"] == row.activity
    longer = config.model_copy(update={"steps": 3})
    with pytest.raises(RankOneError, match=r"factor-0\.5.*another recipe"):
        run_sweep(tmp_path, longer, "other")


def test_a_recipe_without_importance_cost_cannot_be_swept(tmp_path):
    with pytest.raises(RankOneError, match="both 0"):
        run_sweep(tmp_path, recipe(minimality__activity=0, minimality__frequency=0))
    assert not list(tmp_path.iterdir())
