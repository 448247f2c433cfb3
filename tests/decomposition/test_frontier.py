"""A point of the frontier, and the figure of several."""

from __future__ import annotations

import numpy as np
from tests.decomposition.evidence.values import evidence
from tests.decomposition.tiny import recipe

from rankone.core.schemas.evidence import kind_of
from rankone.decomposition.frontier import Point, frontier_figure, point


def test_a_point_is_read_from_the_evidence_with_delta_off():
    rows = [
        {**kind_of(name), "delta": delta, "ce": 3.0, "kl": kl + 100 * delta}
        for name, kl in {
            "unmasked": 1.0,
            "CI as mask": 2.0,
            "rounded > 0.5": 2.0,
            "stochastic": 3.0,
            "zero": 300.0,
            "adversarial, 10 PGD steps": 4.0,
            "adversarial, 20 PGD steps": 5.0,
        }.items()
        for delta in (False, True)
    ]
    made = point(2.0, recipe(), evidence(rows=rows, l0_total=70.0, layer={"alive": 0}))
    assert (made.kl_unmasked, made.kl_ci, made.kl_stochastic, made.kl_adversarial) == (1.0, 2.0, 3.0, 5.0)
    assert (made.pgd_steps, made.l0, made.failures) == (20, 70.0, "too dense, dead layer")


def test_the_frontier_has_a_line_per_ablation_in_order_of_l0():
    rows = [
        {"l0": 20.0, "kl_ci": 0.1, "kl_stochastic": 0.2, "kl_adversarial": 0.4, "activity": 1e-4},
        {"l0": 10.0, "kl_ci": 0.3, "kl_stochastic": 0.5, "kl_adversarial": 0.0, "activity": 1e-3},
        {"l0": 0.0, "kl_ci": 9.0, "kl_stochastic": 9.0, "kl_adversarial": 9.0, "activity": 1e-2},
    ]
    others = dict.fromkeys(Point.model_fields, 1) | {"failures": ""}
    (axes,) = frontier_figure([Point.model_validate(others | row) for row in rows]).axes
    drawn = {line.get_label(): np.column_stack(line.get_data()) for line in axes.lines}
    np.testing.assert_allclose(drawn["CI as mask"], [[10, 0.3], [20, 0.1]])
    np.testing.assert_allclose(drawn["stochastic"], [[10, 0.5], [20, 0.2]])
    np.testing.assert_allclose(drawn["longest attack"], [[20, 0.4]])
    assert [text.get_text() for text in axes.texts] == ["0.001", "0.0001"]
