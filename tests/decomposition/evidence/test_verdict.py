"""Every check on both sides of its bar, from values alone."""

from __future__ import annotations

import copy

import pytest
from tests.decomposition.evidence.values import SOUND, measured

from rankone.decomposition.evidence import verdict as v
from rankone.decomposition.evidence.records import Check


def test_sound_evidence_meets_every_bar():
    verdict = v.verdict(measured())
    findings = verdict.properties + verdict.failures
    assert [f.name for f in findings] == list(Check)
    assert [f.name.words for f in findings[2:6]] == [
        "mechanistic faithfulness",
        "simplicity",
        "CI collapse",
        "too dense",
    ]
    assert [f.name for f in findings if f.met is not True] == []
    assert all(f.said and f.bar for f in findings)


@pytest.mark.parametrize(
    ("check", "within", "beyond"),
    [
        (v.faithfulness, {"kl": {"unmasked": 0.01}}, {"kl": {"unmasked": 0.0101}}),
        (v.minimality, {"l0_total": 40.0}, {"l0_total": 40.1}),
        (v.mechanistic_faithfulness, {"kl": {"CI as mask": 0.2}}, {"kl": {"CI as mask": 0.201}}),
        (
            v.mechanistic_faithfulness,
            {"kl": {"adversarial, 20 PGD steps": 1.0}},
            {"kl": {"adversarial, 20 PGD steps": 1.01}},
        ),
        (v.simplicity, {"habits": {"bipolar": 0.2}}, {"habits": {"bipolar": 0.21}}),
        (v.simplicity, {"habits": {"half_on": 0.05}}, {"habits": {"half_on": 0.051}}),
        (v.ci_collapse, {"kl": {"CI as mask": 10.0}}, {"kl": {"CI as mask": 10.1}}),
        (v.ci_collapse, {"l0_total": 0.4}, {"l0_total": 0.39}),
        (v.too_dense, {"l0_total": 50.0}, {"l0_total": 50.1}),
        (v.polysemantic, {"habits": {"bipolar": 0.2}}, {"habits": {"bipolar": 0.21}}),
        (v.polysemantic, {"habits": {"half_on": 0.05}}, {"habits": {"half_on": 0.051}}),
        (v.under_trained, {"habits": {"undecided": 0.3}}, {"habits": {"undecided": 0.31}}),
        (v.under_trained, {"kl": {"rounded > 0.5": 0.1249}}, {"kl": {"rounded > 0.5": 0.126}}),
        (v.dead_layer, {"layer": {"alive": 10}}, {"layer": {"alive": 9}}),
        (v.dead_layer, {"layer": {"l0": 0.26}}, {"layer": {"l0": 0.25}}),
        (
            v.weak_adversary,
            {"kl": {"adversarial, 20 PGD steps": 0.874}},
            {"kl": {"adversarial, 20 PGD steps": 0.876}},
        ),
        (
            v.overfitted_adversary,
            {"kl": {"adversarial, 20 PGD steps": 2.0}},
            {"kl": {"adversarial, 20 PGD steps": 2.01}},
        ),
    ],
)
def test_both_sides_of_the_bar(check, within, beyond):
    assert check(measured(**within)).met is True, check(measured(**within))
    assert check(measured(**beyond)).met is False, check(measured(**beyond))


def test_what_was_not_measured_is_neither():
    one = measured(ladder=[10])
    assert v.weak_adversary(one).met is None
    # Ten steps cannot show what twenty would do; that they already break it, they can.
    assert v.mechanistic_faithfulness(one).met is None
    broken = measured(kl={"adversarial, 10 PGD steps": 1.5}, ladder=[10])
    assert v.mechanistic_faithfulness(broken).met is False
    # Of a longer attack alone it is the other way round.
    rows = [{"masking": "adversarial", "steps": 80, "delta": False, "ce": 3.0, "kl": kl} for kl in (0.9, 1.1)]
    for row, met in zip(rows, (True, None), strict=True):
        longer = measured(rows=[*SOUND["rows"], row], ladder=[80])
        assert v.mechanistic_faithfulness(longer).met is met
    none = measured(ladder=[])
    assert v.mechanistic_faithfulness(none).met is None
    assert v.overfitted_adversary(none).met is None
    assert v.mechanistic_faithfulness(measured(ladder=[], kl={"CI as mask": 1.0})).met is False


def test_a_model_whose_sites_do_nothing_divides_by_no_zero():
    rows = [{**row, "kl": 0.0} for row in SOUND["rows"]]
    layers = [{**layer, "l0": 0.0, "alive": 0} for layer in SOUND["per_layer"]]
    verdict = v.verdict(measured(rows=rows, per_layer=layers, l0_total=0.0, alive_total=0))
    failed = {f.name for f in verdict.failures if f.met is False}
    assert failed == {Check.CI_COLLAPSE, Check.DEAD_LAYER}


def basis(kind, **figures):
    """Sound evidence with other figures of one kind of site."""
    values = copy.deepcopy(SOUND["privileged_basis"])
    next(row for row in values["kinds"] if row["kind"] == kind).update(figures)
    return measured(privileged_basis=values)


@pytest.mark.parametrize(
    ("kind", "figures", "met"),
    [
        ("mlp", {"ratio_by_importance": 1.5}, True),
        ("mlp", {"ratio_by_importance": 1.49}, False),
        ("attention", {"ratio_by_importance": 0.9}, True),
        ("mlp", {"best_raw": 3.1}, False),
        ("attention", {"best_contrast": 3.1}, False),
        ("attention", {"best_singular": 3.0}, False),
        ("v_proj", {"best_raw": 9.0}, True),
    ],
)
def test_parts_have_to_beat_the_basis(kind, figures, met):
    assert v.no_better_than_its_basis(basis(kind, **figures)).met is met


def test_without_several_domains_the_basis_is_not_measured():
    assert v.no_better_than_its_basis(measured(privileged_basis=None)).met is None
