"""Whole evidence with made-up values in which every bar is met."""

from __future__ import annotations

import copy

from rankone.core.schemas.evidence import kind_of
from rankone.decomposition.evidence.records import BasisFigures, Evidence, Measured
from rankone.decomposition.evidence.verdict import verdict

SITES = [f"h.{i}.mlp.{name}" for i in (0, 1) for name in ("c_fc", "down_proj")]
ONES = dict.fromkeys(BasisFigures.model_fields, 1.0)
SOUND = {
    "tokens": 100,
    "text": {"name": "made up", "fingerprint": "0", "split": "validation"},
    "rows": [
        {**kind_of(name), "delta": False, "ce": 3.0, "kl": kl}
        for name, kl in {
            "unmasked": 0.003,
            "stochastic": 0.1,
            "CI as mask": 0.1,
            "rounded > 0.5": 0.11,
            "zero": 20.0,
            "adversarial, 10 PGD steps": 0.7,
            "adversarial, 20 PGD steps": 0.8,
        }.items()
    ]
    + [{"masking": "ci", "delta": True, "ce": 3.0, "kl": 99.0}],
    "faithfulness": 1e-7,
    "delta_norm_share": 0.01,
    "l0_total": 20.0,
    "alive_total": 500,
    "subcomponents": 2000,
    "kept": 2000,
    "per_layer": [
        {"layer": str(i), "l0": 10.0, "alive": 250, "subcomponents": 1000} for i in (0, 1)
    ],
    "per_site": [
        {"site": s, "l0": 5.0, "alive": 125, "kept": 500, "subcomponents": 500} for s in SITES
    ],
    "adversary": {"step": 0.1, "ladder": [10, 20], "restarts": 1, "positions": 100, "gradients": 20},
    "spectrum": {
        "zero": 1000,
        "between_zero_and_alive": 500,
        "widest_gap": None,
        "gap_at_alive": {"above": 1e-3, "below": 1e-9, "decades": 6.0},
        "quantiles": [{"share": 0.5, "mean_importance": 1e-9}],
    },
    "habits": {"undecided": 0.1, "bipolar": 0.1, "half_on": 0.01},
    "masked_alone": [
        {"by": by, "group": group, "ce": 3.0, "kl": 0.1}
        for by, group in [("layer", "0"), ("layer", "1"), ("kind", "c_fc"), *(("site", s) for s in SITES)]
    ],
    "adversary_by_group": {
        "steps": 20,
        "tokens": 50,
        "whole": {"ce": 3.0, "kl": 0.8},
        "groups": [{"by": "layer", "group": str(i), "ce": 3.0, "kl": 0.4} for i in (0, 1)]
        + [{"by": "kind", "group": "c_fc", "ce": 3.0, "kl": 0.4}],
    },
    "hidden": [
        {"site": s, "layer": "0", "kind": "c_fc", "ci": 1.0, "stochastic": 1.0, "ci_share": 0.1,
         "stochastic_share": 0.1}
        for s in SITES
    ],
    "privileged_basis": {
        "top": 20,
        "tokens": {"de": 50, "en": 50},
        "rows": [],
        "kinds": [
            {**ONES, "kind": kind, "ratio_by_importance": ratio, "best_parts": 3.0, "best_raw": 2.0,
             "best_contrast": 2.5}
            for kind, ratio in (("mlp", 1.6), ("attention", 1.1), ("v_proj", 0.9))
        ],
        "read_leak": [],
    },
}  # fmt: skip


def measured(**changes) -> Measured:
    """Sound evidence with other values: KL by masking (`kl`), habits, the second layer (`layer`), the rest by key."""
    values = copy.deepcopy(SOUND)
    for masking, kl in changes.pop("kl", {}).items():
        about = kind_of(masking).items()
        next(row for row in values["rows"] if about <= row.items() and not row["delta"])["kl"] = kl
    values["habits"] |= changes.pop("habits", {})
    values["per_layer"][1] |= changes.pop("layer", {})
    values["adversary"]["ladder"] = changes.pop("ladder", [10, 20])
    return Measured.model_validate(values | changes)


def evidence(**changes) -> Evidence:
    """The same with its verdict."""
    values = measured(**changes)
    return Evidence(**dict(values), verdict=verdict(values))
