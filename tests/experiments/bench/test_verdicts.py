"""Verdicts on made-up tables: they hold, fail or stay open as the intervals say; λ and success by hand."""

from __future__ import annotations

import csv
import io
import math
from types import SimpleNamespace

import pytest
from tests.experiments.workers.tiny import CONFIG

from rankone.core.errors import RankOneError
from rankone.edits.fitting.aim import Aim
from rankone.experiments.bench.figures import PANELS, csv_of, drawn, means_of, panel_rows, shares_of
from rankone.experiments.bench.ledger import DomainResult
from rankone.experiments.bench.page import verdicts_of
from rankone.experiments.bench.summary import chosen_weights, gathered, interval, summary_rows
from rankone.experiments.bench.tables import score
from rankone.experiments.bench.verdicts import Cells, judge
from rankone.experiments.config import BenchConfig
from rankone.experiments.measure import Rollout
from rankone.experiments.names import method_name

CHANCE = math.log(4096)
AIM = Aim(forget="de", retain=("en",), chance=CHANCE)
BASE = {"de": 4.0, "en": 3.6, "fr": 3.3, "it": 3.5, "code": 2.0}
ROLES = {"de": "forget", "en": "retain"}


def rows(
    method,
    budget,
    seeds=9,
    good=9,
    off=0.01,
    weight=1.0,
    score=1.0,
    alpha=None,
    retain_set="english",
    uneven=0.0,
):
    """`good` of the seeds reach chance; every other domain rises by `off`, a little more with the seed.

    uneven: how far the rise of one passage lies above, and of the other below, the mean.
    """
    made = []
    for seed in range(seeds):
        for domain, base in BASE.items():
            ce = base + off * (1 + 0.01 * seed)
            if domain == "en":
                ce = base + 0.01
            if domain == "de":
                ce = CHANCE if seed < good else 5.0
            made.append(
                {
                    "key": f"{method}{budget}{seed}{weight}",
                    "method": method,
                    "retain_set": retain_set,
                    "stage": "fitted",
                    "status": "ok",
                    "budget": budget,
                    "seed": seed,
                    "steps": 1,
                    "start": 0,
                    "retain_weight": weight,
                    "learning_rate": 0.1,
                    "margin": 1.0,
                    "size": 1.0,
                    "alpha": alpha if alpha is None or not isinstance(alpha, list) else alpha[seed],
                    "validation_score": score,
                    "domain": domain,
                    "role": ROLES.get(domain, "off-target"),
                    "ce_base": base,
                    "ce": ce,
                    "rise": ce - base,
                    "error": 0.02,
                    "rise_p99": 0.5,
                    "bits_per_byte": 1.0,
                    "passage_tokens": [50, 50],
                    "passage_base": [50 * base, 50 * base],
                    "passage_rise": [50 * (ce - base + uneven), 50 * (ce - base - uneven)],
                }
            )
    return made


def verdicts(table, texts=None, shown=None):
    found = judge(Cells(gathered(table, "fitted"), "english", AIM, tuple(BASE)), texts or {}, shown)
    return {verdict.claim: verdict for verdict in found}


def test_where_intervals_part_a_claim_holds_or_does_not():
    table = rows("scalar", 4) + rows("lora_r1", 4, good=0) + rows("lora_r1", 32) + rows("top16", 4, good=9)
    found = verdicts(table)
    assert found["One scalar needs fewer forget tokens than LoRA."].verdict == "holds"
    assert (
        "one scalar from 4 tokens: 9/9 (" in found["One scalar needs fewer forget tokens than LoRA."].figures
    )
    assert found["Top-16 scalars beat rank-1 LoRA at small budgets."].verdict == "holds"
    other = verdicts(rows("scalar", 4, good=0) + rows("scalar", 32, good=0) + rows("lora_r1", 4))
    assert other["One scalar needs fewer forget tokens than LoRA."].verdict == "does not hold"
    said = found["Top-16 scalars beat rank-1 LoRA at small budgets."].figures
    assert said == "at 4 tokens: top-16 scalars 9/9 (0.70 to 1.00); LoRA rank 1 0/9 (0.00 to 0.30)"


def test_where_they_do_not_it_is_open():
    found = verdicts(rows("top16", 4, good=6) + rows("lora_r1", 4, good=4))
    assert found["Top-16 scalars beat rank-1 LoRA at small budgets."].verdict == "open"


def test_small_budgets_are_those_that_are_too_small_for_the_rival():
    claim = "Top-16 scalars beat rank-1 LoRA at small budgets."
    floor = rows("top16", 4, good=0) + rows("lora_r1", 4, good=0)
    middle = rows("top16", 32, good=9) + rows("lora_r1", 32, good=0)
    found = verdicts(floor + middle + rows("top16", 512, good=0) + rows("lora_r1", 512))[claim]
    assert found.figures.startswith("at 32 tokens: top-16 scalars 9/9")
    assert found.verdict == "holds"
    behind = rows("top16", 128, good=0) + rows("lora_r1", 128, good=7)
    assert verdicts(floor + middle + behind)[claim].verdict == "open", "ahead at one, behind at another"
    assert verdicts(floor + behind)[claim].verdict == "does not hold"
    assert verdicts(rows("top16", 4, good=0) + rows("lora_r1", 4))[claim].verdict == "does not hold"
    assert verdicts(floor)[claim].verdict == "open"


def test_one_scalar_is_compared_with_sixteen():
    claim = "One scalar needs fewer forget tokens than top-16 scalars."
    assert verdicts(rows("scalar", 4) + rows("top16", 4, good=0))[claim].verdict == "holds"
    assert verdicts(rows("scalar", 4, good=5) + rows("top16", 4, good=9))[claim].verdict == "open"
    assert verdicts(rows("scalar", 4))[claim].verdict == "not asked"


def test_a_scalar_that_never_succeeds_loses_only_where_a_rival_does():
    claim = "One scalar needs fewer forget tokens than LoRA."
    neither = verdicts(rows("scalar", 4, seeds=3, good=2) + rows("lora_r1", 4, seeds=3, good=0))
    assert neither[claim].verdict == "open"
    few = verdicts(rows("scalar", 4, seeds=3, good=2) + rows("lora_r1", 4, seeds=3, good=3))
    assert few[claim].verdict == "open"
    late = verdicts(
        rows("scalar", 4, good=0)
        + rows("scalar", 32)
        + rows("lora_r1", 4, good=9)
        + rows("lora_r1", 32, good=9)
    )
    assert late[claim].verdict == "does not hold"


def test_what_was_not_run_is_not_asked():
    found = verdicts(rows("scalar", 4))
    assert found["Top-16 scalars beat rank-1 LoRA at small budgets."].verdict == "not asked"
    assert found["One scalar is better than parts of other sources with one scalar."].verdict == "not asked"


@pytest.mark.parametrize(
    ("off", "wrecks", "spares"), [(0.5, "holds", "does not hold"), (0.02, "does not hold", "holds")]
)
def test_damage_is_judged_by_its_interval(off, wrecks, spares):
    found = verdicts(rows("lora_r1", 4, off=off) + rows("top16", 4, off=off) + rows("scalar", 4, off=off))
    assert found["With this retain set LoRA and top-16 damage other languages."].verdict == wrecks
    assert found["Code is spared by LoRA and top-16."].verdict == spares
    assert found["One scalar leaves the other languages and code nearly untouched."].verdict == spares


def test_two_lines_need_both():
    below = verdicts(rows("scalar", 4, alpha=-9.0))
    assert below["Inverting does less damage than amplifying."].verdict == "open"
    assert "9 runs end below α = 1, 0 above" in below["Inverting does less damage than amplifying."].figures


def test_a_fit_that_stays_where_it_began_is_on_neither_line():
    found = verdicts(rows("scalar", 4, alpha=[-9.0] * 6 + [1.002, 0.995, 9.0]))
    assert (
        "6 runs end below α = 1, 1 above, 2 at 1;"
        in found["Inverting does less damage than amplifying."].figures
    )


def test_two_lines_part_over_seeds_and_passages():
    """Five inverted seeds cost .01 nats in English, four amplified ones .01 to .21: by hand, with one text for all."""
    claim = "Inverting does less damage than amplifying."
    alphas = [-9.0] * 5 + [9.0] * 4

    def table(rise, uneven=0.0):
        made = rows("scalar", 4, alpha=alphas, uneven=uneven)
        for row in made:
            if row["domain"] == "en" and row["alpha"] > 1:
                row.update(ce=row["ce_base"] + rise, rise=rise)
                row["passage_rise"] = [50 * (rise + uneven), 50 * (rise - uneven)]
        return made

    found = verdicts(table(0.2))[claim]
    assert found.verdict == "holds"
    assert found.figures.startswith(
        "5 runs end below α = 1, 4 above; below: +0.010 (+0.010 to +0.010); above: +0.200"
    )
    # A text whose passages differ by as much says nothing.
    found = verdicts(table(0.2, uneven=0.3))[claim]
    assert found.verdict == "open"
    assert "above: +0.200 (−0.100 to +0.500)" in found.figures
    assert verdicts(table(0.001))[claim].verdict == "does not hold"


def test_controls():
    found = verdicts(rows("scalar", 4) + rows("random", 4, good=0) + rows("singular", 4, good=1))
    assert found["One scalar is better than parts of other sources with one scalar."].verdict == "holds"
    found = verdicts(rows("scalar", 4) + rows("random", 4, good=0) + rows("neuron", 4, good=9))
    assert found["One scalar is better than parts of other sources with one scalar."].verdict == "open"


def test_languages_of_rollouts():
    spanish = "sin embargo, el proyecto de la comisión no ha sido aprobado por el parlamento"
    german = "Der Ausschuss hat gestern beschlossen, dass die Lösung nicht angenommen wird"
    claim = "The edited model drops out of the language; others go on in theirs."
    texts = {"scalar": [Rollout(prompt="a", domain="de", before="", after=spanish)]}
    assert verdicts(rows("scalar", 4), texts)[claim].verdict == "holds"
    texts = {"scalar": [Rollout(prompt="a", domain="de", before="", after=german)]}
    assert verdicts(rows("scalar", 4), texts)[claim].verdict == "does not hold"
    assert verdicts(rows("scalar", 4), texts, 0.99 * CHANCE)[claim].verdict == "does not hold"
    failed = verdicts(rows("scalar", 4), texts, 0.7 * CHANCE)[claim]
    assert (failed.verdict, failed.figures) == (
        "open",
        "the edit whose text is shown did not remove the language: German is at 0.70 of chance",
    )


def test_the_edit_that_is_shown_is_the_one_that_is_judged():
    """First seed, smallest budget from 4 tokens on, λ of the tuning: here it fails where the chosen λ succeeds."""
    config = BenchConfig.checked(
        {**CONFIG, "budgets": [2, 4, 32], "weights": [1.0, 10.0], "methods": ["scalar"], "sized": False},
        "test",
    )
    record = SimpleNamespace(config=config, aim=AIM)
    assert config.weight("scalar", 4) == 1.0
    table = [
        {**row, "retain_set": config.pick_retain}
        for row in rows("scalar", 2) + rows("scalar", 4, good=0) + rows("scalar", 4, weight=10.0, score=2.0)
    ]
    text = "sin embargo, el proyecto de la comisión no ha sido aprobado por el parlamento"
    texts = {"scalar": [Rollout(prompt="a", domain="de", before="", after=text)]}
    judged = verdicts_of(record, table, {"fitted": gathered(table, "fitted")}, texts)
    claim = "The edited model drops out of the language; others go on in theirs."
    (verdict,) = (v for v in judged[config.pick_retain] if v.claim == claim)
    assert "German is at 0.60 of chance" in verdict.figures


def test_a_domain_in_lower_case_is_of_its_language():
    """German that stays German there is no language lost, and its damage none of another language."""
    german = "der ausschuss hat gestern beschlossen, dass die lösung nicht angenommen wird"
    spanish = "Sin embargo, el proyecto de la comisión no ha sido aprobado por el parlamento"
    claim = "The edited model drops out of the language; others go on in theirs."

    def said(**after):
        texts = [
            Rollout(prompt="a", domain=d.replace("_", "-"), before="", after=a) for d, a in after.items()
        ]
        return verdicts(rows("scalar", 4), {"scalar": texts})[claim].verdict

    assert said(de=spanish, de_lower=german) == "holds"
    assert said(de=spanish, de_lower=spanish) == "does not hold"
    damaged = [
        {**row, "domain": "de-lower"} if row["domain"] == "fr" else row for row in rows("top16", 4, off=0.5)
    ]
    spared = [{**row, "ce": row["ce_base"], "rise": 0.0} if row["domain"] == "it" else row for row in damaged]
    wrecks = verdicts(spared)["With this retain set LoRA and top-16 damage other languages."]
    assert "Italian" in wrecks.figures


def test_a_language_that_the_model_hardly_knows_decides_nothing():
    """Dutch, measured and not trained on, may rise by any amount."""
    table = rows("scalar", 4, off=0.02) + rows("lora_r1", 4, off=0.02)
    table = [r if r["domain"] != "fr" else {**r, "domain": "nl", "ce": 9.0, "rise": 5.7} for r in table]
    found = {
        v.claim: v
        for v in judge(Cells(gathered(table, "fitted"), "english", AIM, ("de", "en", "it", "code")), {})
    }
    spared = found["One scalar leaves the other languages and code nearly untouched."]
    assert spared.verdict == "holds"
    wrecks = found["With this retain set LoRA and top-16 damage other languages."]
    assert wrecks.verdict == "does not hold"
    assert "Dutch" not in spared.figures + wrecks.figures


def test_code_that_is_removed_is_not_said_to_be_spared():
    exchanged = {"de": "code", "code": "de"}
    table = [
        {**row, "domain": exchanged.get(row["domain"], row["domain"])} for row in rows("scalar", 4, off=0.02)
    ]
    aim = AIM.model_copy(update={"forget": "code"})
    found = judge(Cells(gathered(table, "fitted"), "english", aim, tuple(BASE)), {})
    said = {verdict.claim: verdict.verdict for verdict in found if "nearly untouched" in verdict.claim}
    assert said == {"One scalar leaves the languages nearly untouched.": "holds"}


def test_the_weight_is_chosen_on_validation_text_alone():
    worse_on_test = rows("scalar", 4, good=0, weight=10.0, score=2.0)
    table = rows("scalar", 4, weight=1.0, score=1.0) + worse_on_test
    assert chosen_weights(table) == {("scalar", "english", "fitted", 4): 10.0}
    (cell,) = gathered(table, "fitted")
    assert cell.successes(AIM) == 0


def test_the_score_by_hand():
    def result(base, ce):
        return DomainResult(ce_base=base, ce=ce, error=None, rise_p99=0.0, bits=0.0, passages=())

    found = score({"de": result(4.0, 9.9), "en": result(3.6, 3.8)}, AIM)
    assert found == pytest.approx(CHANCE - 4.0 - 0.2 - 10 * 0.1)
    assert score({"de": result(4.0, math.nan), "en": result(3.6, 3.8)}, AIM) == -math.inf


def test_an_interval_by_hand():
    low, high = interval([0.0, 2.0])
    assert (low + high) / 2 == pytest.approx(1.0)
    assert high - 1.0 == pytest.approx(12.706, rel=1e-3)
    assert interval([1.0]) == (None, None)


def test_the_summary_by_hand():
    found = [r for r in summary_rows(rows("scalar", 4, good=8), AIM) if r["domain"] == "fr"]
    (row,) = found
    assert (row["seeds"], row["successes"]) == (9, 8)
    assert row["rise"] == pytest.approx(0.01 * 1.04)
    assert row["success_low"] < 8 / 9 < row["success_high"]
    # No passage differs from another: the interval is that over seeds.
    assert (row["passages_low"], row["passages_high"]) == pytest.approx((row["rise"], row["rise"]))
    assert (row["low"], row["high"]) == pytest.approx((row["seeds_low"], row["seeds_high"]))


def test_intervals_over_passages_by_hand():
    """Of two passages both are drawn half of the time, one of them twice a quarter each: the interval spans both."""
    found = [r for r in summary_rows(rows("scalar", 4, uneven=0.3), AIM) if r["domain"] == "fr"]
    (row,) = found
    rise, seeds = 0.01 * 1.04, row["seeds_high"] - 0.01 * 1.04
    assert (row["passages_low"], row["passages_high"]) == pytest.approx((rise - 0.3, rise + 0.3))
    assert row["high"] == pytest.approx(rise + math.hypot(0.3, seeds))


def test_a_share_that_hangs_on_few_passages_has_a_wide_interval():
    """German on one passage is .3 below the bar, on the other above: a quarter of the draws say that no seed succeeds."""
    (even,) = gathered(rows("scalar", 4), "fitted")
    (uneven,) = gathered(rows("scalar", 4, uneven=0.3), "fitted")
    assert even.share(AIM)[0] == pytest.approx(0.70, abs=0.01)
    assert uneven.share(AIM)[0] == 0.0
    assert uneven.successes(AIM) == 9


def test_no_order_is_said_where_the_text_does_not_decide():
    decided = verdicts(rows("scalar", 4, off=0.02))
    claim = "One scalar leaves the other languages and code nearly untouched."
    assert decided[claim].verdict == "holds"
    assert verdicts(rows("scalar", 4, off=0.02, uneven=0.3))[claim].verdict == "open"


def test_runs_of_other_passages_are_not_put_together():
    table = rows("scalar", 4)
    table[-1]["passage_tokens"] = [50, 49]
    with pytest.raises(RankOneError, match="runs of 'scalar' were measured on other passages of code"):
        gathered(table, "fitted")


def test_figures_draw_every_weight_of_a_trade_off_and_the_chosen_one_of_damage():
    table = rows("top16", 4) + rows("lora_r1", 4, weight=1.0) + rows("lora_r1", 4, weight=10.0, score=0.5)
    table += rows("scalar", 4)
    tried = panel_rows(table, PANELS["F1"], "english", "fitted")
    assert {(r["method"], r["retain_weight"]) for r in tried} == {
        ("top16", 1.0),
        ("lora_r1", 1.0),
        ("lora_r1", 10.0),
    }
    damage = panel_rows(table, PANELS["F2"], "english", "fitted")
    assert {r["retain_weight"] for r in damage} == {1.0}


def test_damage_is_drawn_and_saved_with_the_share_that_succeeds_over_seeds_and_passages():
    """With German on passages above and below the bar the interval reaches zero; Wilson's alone would not."""
    table = rows("top16", 4, uneven=0.3) + rows("lora_r1", 4, good=3)
    cells = gathered(table, "fitted")
    chosen, means, shares = (
        panel_rows(table, PANELS["F2"], "english", "fitted"),
        means_of(cells),
        shares_of(cells, AIM),
    )
    (axes,) = drawn(chosen, PANELS["F2"], AIM, means, shares).axes
    title = axes.get_title(loc="left").replace("\n", " ")
    for row in csv.DictReader(io.StringIO(csv_of("F2", chosen, means, shares))):
        (cell,) = [c for c in cells if c.method == row["method"]]
        said = f"{method_name(cell.method)} {cell.counted(AIM)}"
        assert said in title
        assert (int(row["successes"]), int(row["seeds"])) == (cell.successes(AIM), 9)
        assert (float(row["success_low"]), float(row["success_high"])) == pytest.approx(cell.share(AIM))
    assert "top-16 scalars 9/9 (0.00 to 1.00)" in title
    assert "LoRA rank 1 3/9 (0.12 to 0.65)" in title
