"""The tables of the page: what is said of the sizes that validation text chose."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tests.experiments.workers.tiny import CONFIG

from rankone.edits.fitting.aim import Aim
from rankone.experiments.bench.choice import size_ends
from rankone.experiments.bench.shown import accounts_table, successes_table, tokens_in_all, verdict_table
from rankone.experiments.bench.summary import Cellwise
from rankone.experiments.config import BenchConfig

AIM = Aim(forget="de", retain=("en",), chance=6.0)


def _record(matched: bool) -> SimpleNamespace:
    config = BenchConfig.checked({**CONFIG, "weights": [1.0], "matched": matched}, "test")
    return SimpleNamespace(config=config, spent={"harvest and ranking": 60}, tuning_runs={})


def test_tokens_that_a_size_was_chosen_on_are_counted_at_matched_removal_alone():
    """Of one rate and λ nothing else is chosen; what is not fitted has no size."""
    record = _record(matched=True)
    assert tokens_in_all(record, "scalar", 4, "sized") == 4 + 60
    assert tokens_in_all(record, "scalar", 4, "matched") == 4 + 60 + record.config.validation_tokens
    assert tokens_in_all(record, "scalar_zero", 4, "matched") == 4 + 60


@pytest.mark.parametrize(("matched", "said"), [(True, "rates, λ and sizes"), (False, "rates and λ")])
def test_the_accounts_say_what_validation_text_chose(matched, said):
    rows = accounts_table(_record(matched)).rows
    assert (f"choosing {said}, on validation text", CONFIG["validation_tokens"]) in rows


def test_verdicts_say_when_something_is_decided():
    assert "only where 95% intervals do not overlap;" in (verdict_table([]).caption or "")


def _cell(stage: str, size: float = 1.0) -> Cellwise:
    return Cellwise(
        method="scalar",
        retain_set="english",
        stage=stage,
        budget=4,
        retain_weight=1.0,
        seeds={
            0: {"de": {"ce": 6.0, "rise": 4.0, "size": size}, "en": {"ce": 2.0, "rise": 0.0, "size": size}}
        },
        texts={
            domain: {"tokens": (5, 5), "base": (10.0, 10.0), "rises": {0: (rise, rise)}}
            for domain, rise in (("de", 20.0), ("en", 0.0))
        },
        failed=0,
    )


@pytest.mark.parametrize("stage", ["fitted", "sized", "matched"])
def test_budgets_at_matched_removal_are_said_to_be_more(stage):
    caption = successes_table([_cell(stage)], AIM).caption
    assert ("its tokens come on top" in caption) == (stage == "matched")


def test_a_size_at_an_end_of_those_tried_is_told():
    low, high = size_ends()
    at_ends = [_cell("matched", size) for size in (low, 0.9 * high, high, high)]
    caption = successes_table(at_ends, AIM).caption
    assert f"Of 4 sizes 1 at ×{low:.3g} and 2 at ×{high:.3g}, an end" in caption
    for fine in (_cell("matched", 0.9 * high), _cell("sized", high)):
        assert "an end" not in successes_table([fine], AIM).caption
