"""The tables of what survives, by hand."""

from __future__ import annotations

import json

import pytest

from perf import survival


def fit(method, seed, regained, rises=(4.3, 0.01, 0.02, 0, 0, 0, 9.0), at_chance=True):
    """A fit that was attacked; regained: by attack and tokens."""
    runs = [
        {"attack": attack, "budget": budget, "ce": {"de": 8.0 - 4 * share}, "base": {"de": 4.0}}
        for (attack, budget), share in regained.items()
    ]
    removed = {
        "rises": dict(zip(("de", "en", "fr", "es", "it", "code", "nl"), rises, strict=True)),
        "at_chance": at_chance,
    }
    survive = {"forget": "de", "removed": 4.0, "runs": runs}
    return {"method": method, "seed": seed, "removed": removed, "survive": survive}


def test_a_row_an_attack_and_a_column_a_method():
    """Two fits: half a way from .2 to .6 on one budget, in the order of attacks and budgets; Student's t of one degree."""
    rows = [
        fit("lora_r1", 0, {("relearn-full", 256): 0.9, ("int4", 0): 0.0, ("relearn-full", 16): 0.2}),
        fit("lora_r1", 1, {("relearn-full", 256): 0.9, ("int4", 0): 0.0, ("relearn-full", 16): 0.6}),
        fit("scalar", 0, {("relearn-full", 256): 0.5, ("int4", 0): -0.01, ("relearn-full", 16): 0.1}),
    ]
    head, _, *lines = survival.attacks_table(rows, {}).splitlines()
    assert head == "| attack | tokens | one scalar | LoRA rank 1 |"
    half = 12.706 * 0.2
    assert lines == [
        "| weights in 4 bits |  | −1% | 0% (0% to 0%) |",
        f"| all weights on its text | 16 | 10% | 40% (−{100 * (half - 0.4):.0f}% to {100 * (0.4 + half):.0f}%) |",
        "| all weights on its text | 256 | 50% | 90% (90% to 90%) |",
    ]


def test_what_was_removed_before():
    rows = [
        fit("scalar", 0, {}),
        fit("scalar", 1, {}, rises=(4.1, 0.01, 0.04, 0, 0, 0, 9.0), at_chance=False),
    ]
    *_, line = survival.removed_table(rows).splitlines()
    assert line.startswith("| one scalar | 1 of 2 | +4.20 (")
    assert "| French +0.03 (" in line


def test_every_kept_fit_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(survival, "KEPT", tmp_path)
    for seed in (0, 1):
        (tmp_path / f"scalar-{seed}.json").write_text(json.dumps(fit("scalar", seed, {("int8", 0): 0.1})))
    assert survival.regained(survival.kept(), {})["scalar"]["int8", 0] == pytest.approx([0.1, 0.1])


def test_an_attack_again_takes_the_place_of_the_one_that_is_kept():
    """A prompt that had brought back a half brings back nothing of what is removed on the tokens that it is scored on."""
    kept = fit("scalar", 0, {("none", 0): 0.0, ("prompt", 0): 0.5, ("knob", 16): 1.0})
    new = {**fit("scalar", 0, {("prompt", 0): 0.0}), "environment": {"git_revision": "a"}}
    new["survive"]["runs"][0]["removed"] = 5.0
    row = survival.replaced(kept, new, ["prompt"])
    shares = survival.regained([row], {})["scalar"]
    assert list(shares) == [("none", 0), ("prompt", 0), ("knob", 16)]
    assert shares["prompt", 0] == pytest.approx([1 - 4 / 5])
    with pytest.raises(SystemExit, match="another fit"):
        survival.replaced(kept, {**new, "removed": {"at_chance": False}}, ["prompt"])


def test_what_the_same_training_does_to_the_unedited_model_is_no_part_of_what_is_left():
    """Half of the removal is left, and the unedited model of that seed has risen as far: all came back."""
    rows = [fit("scalar", seed, {("relearn-full", 16): 0.5}) for seed in (0, 1)]
    beside = {(0, "relearn-full", 16): {"de": 6.0}}
    assert survival.regained(rows, beside)["scalar"]["relearn-full", 16] == pytest.approx([1.0, 0.5])
