import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.experiments import factory

from rankone.core.errors import RankOneError
from rankone.edits.fitting.aim import Aim
from rankone.experiments import tables

AIM = Aim(forget="de", retain=("en",), chance=10.0)
ROW = {
    "method": "scalar",
    "budget": 4,
    "seed": 0,
    "retain_weight": 1.0,
    "learning_rate": 0.03,
    "margin": 1.0,
    "steps": 10,
    "alpha": None,
    "role": "forget",
    **factory.ce_row("de", 8.4),
}


def test_a_table_reads_back_as_written_and_leaves_no_scrap(tmp_path):
    rows = factory.runs(seeds=2)
    tables.write_table(tmp_path / "runs.parquet", rows, tables.RUNS)
    assert tables.read_table(tmp_path / "runs.parquet") == rows
    parts = factory.parts()
    tables.write_table(tmp_path / "parts.parquet", parts, tables.parts_schema(factory.BASE))
    assert tables.read_table(tmp_path / "parts.parquet") == parts
    assert sorted(p.name for p in tmp_path.iterdir()) == ["parts.parquet", "runs.parquet"]


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"ce": float("nan")}, "ce"),
        ({"alpha": float("inf")}, "alpha"),
        ({"seed": None}, "seed"),
        ({"budget": "four"}, "budget"),
        ({"role": "forgotten"}, "role"),
        ({"rise": 0.5}, "rise"),
        ({"bugdet": 4}, "bugdet"),
    ],
)
def test_a_bad_value_is_refused_by_column_and_nothing_is_written(tmp_path, change, column):
    with pytest.raises(RankOneError, match=f"column '{column}'"):
        tables.write_table(tmp_path / "runs.parquet", [ROW, {**ROW, "seed": 1, **change}], tables.RUNS)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_table(tmp_path):
    path = tmp_path / "runs.parquet"
    tables.write_table(path, [ROW], tables.RUNS)
    with pytest.raises(RankOneError, match="lacks column 'ce_base'"):
        tables.write_table(path, [{k: v for k, v in ROW.items() if k != "ce_base"}], tables.RUNS)
    assert tables.read_table(path) == [ROW]


def test_reading_names_a_missing_column_a_missing_file_and_a_damaged_one(tmp_path):
    path = tmp_path / "response.parquet"
    with pytest.raises(RankOneError, match="no table"):
        tables.read_table(path)
    path.write_bytes(b"PAR1 not parquet")
    with pytest.raises(RankOneError, match="cannot read table"):
        tables.read_table(path)
    pq.write_table(pa.table({"part": ["h.0"], "domain": ["de"]}), path)
    with pytest.raises(RankOneError, match="lacks column 'alpha'"):
        tables.read_table(path)


def _fit(method, budget, seed, de, en_rise, weight=1.0, fr_rise=0.0):
    setting = {"method": method, "budget": budget, "seed": seed, "retain_weight": weight, "alpha": None}
    setting |= {"learning_rate": 0.03, "margin": 1.0, "steps": 1}
    rises = (("de", "forget", de - 3.4), ("en", "retain", en_rise), ("fr", "off-target", fr_rise))
    return [{**setting, "role": role, **factory.ce_row(d, factory.BASE[d] + rise)} for d, role, rise in rises]


def test_success_needs_98_percent_of_chance_and_less_than_a_tenth_of_damage():
    rows = [
        *_fit("m", 4, 0, 9.8, 0.05, fr_rise=0.2),
        *_fit("m", 4, 1, 9.79, 0.05, fr_rise=0.4),
        *_fit("m", 4, 2, 9.9, 0.11, fr_rise=0.6),
    ]
    tally = tables.summarise_runs(rows, AIM)["m"][4]
    assert (tally.successes, tally.seeds) == (1, 3)
    assert tally.damage == pytest.approx({"en": 0.07, "fr": 0.4})
    assert tally.forget_ce == pytest.approx((9.8 + 9.79 + 9.9) / 3)


def test_every_domain_to_hold_counts():
    """With French held too its rise of .2 is too much; the worst of both is what the choice of a setting looks at."""
    rows = [*_fit("m", 4, 0, 9.9, 0.05, fr_rise=0.2), *_fit("m", 4, 0, 9.9, 0.09, weight=2.0, fr_rise=0.08)]
    both = Aim(forget="de", retain=("en", "fr"), chance=10.0)
    assert [fit.succeeds(AIM) for fit in tables.fits(rows, AIM)] == [True, True]
    assert [fit.succeeds(both) for fit in tables.fits(rows, both)] == [False, True]
    assert tables.summarise_runs(rows, AIM)["m"][4].retain_weight == 1.0
    assert tables.summarise_runs(rows, both)["m"][4].retain_weight == 2.0


def test_one_setting_is_chosen_for_all_seeds_and_is_not_helped_by_missing_seeds():
    rows = []
    for seed in range(4):  # each seed succeeds under a setting of its own: that is one success, not four
        for weight in range(4):
            rows += _fit("m", 4, seed, 10.0 if seed == weight else 4.0, 0.0, float(weight))
    rows += _fit("m", 8, 0, 10.0, 0.0, 7.0)
    rows += [row for seed in range(9) for row in _fit("m", 8, seed, 5.0, 0.0, 1.0)]
    counted = tables.summarise_runs(rows, AIM)["m"]
    assert (counted[4].successes, counted[4].seeds, counted[4].settings) == (1, 4, 4)
    assert (counted[8].successes, counted[8].seeds) == (1, 9)


def test_smallest_budget_needs_eight_of_nine():
    assert [tables.needed_successes(n) for n in (1, 2, 3, 8, 9, 10, 18)] == [1, 2, 3, 8, 8, 9, 16]
    rows = []
    for budget, good in ((2, 7), (16, 8), (32, 9)):
        for seed in range(9):
            rows += _fit("m", budget, seed, 10.0 if seed < good else 4.0, 0.0)
            rows += _fit("never", budget, seed, 4.0, 0.0)
    counted = tables.summarise_runs(rows, AIM)
    assert tables.smallest_budget(counted) == {"m": 16, "never": None}
    assert tables.compared_budgets(counted) == [{"m": 2, "never": 2}, {"m": 32, "never": 32}]


def test_methods_without_a_shared_budget_are_compared_at_their_largest():
    rows = [*_fit("a", 2, 0, 9.0, 0.0), *_fit("a", 4, 0, 9.0, 0.0), *_fit("b", 32, 0, 9.0, 0.0)]
    counted = tables.summarise_runs(rows, AIM)
    assert tables.compared_budgets(counted) == [{"a": 4, "b": 32}]
    alone = tables.summarise_runs(_fit("b", 32, 0, 9.0, 0.0), AIM)
    assert tables.compared_budgets(alone) == [{"b": 32}]


def test_a_fit_measured_twice_or_not_on_the_retain_domain_is_refused():
    rows = _fit("m", 4, 0, 9.0, 0.0)
    with pytest.raises(RankOneError, match="two rows"):
        tables.fits(rows * 2, AIM)
    with pytest.raises(RankOneError, match="domain 'en'"):
        tables.fits([row for row in rows if row["domain"] != "en"], AIM)
