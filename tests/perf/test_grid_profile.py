"""Where a step's time goes: what is before the steps is taken off, shares are of the whole."""

from __future__ import annotations

import torch

from perf import grid_profile


def test_only_what_steps_do_is_counted():
    """A step of one product and two sums, after a product more that every fit begins with."""
    x = torch.ones(64, 64)

    def fit(steps: int) -> float:
        torch.mm(x, x)
        for _ in range(steps):
            torch.mm(x, x).sum() + x.sum()
        return 0.0

    by_name = grid_profile.spent(fit, 3)
    assert (by_name["aten::mm"][1], by_name["aten::sum"][1]) == (1, 2)


def test_the_table_by_hand():
    by_name = {
        "aten::mm": (50.0, 4.0),
        "aten::bmm": (10.0, 2.0),
        "aten::_softmax": (30.0, 1.0),
        **{f"small{i}": (1.0, 10.0) for i in range(grid_profile.SHOWN + 9)},
    }
    lines = grid_profile.table(by_name).splitlines()
    whole = 90 + grid_profile.SHOWN + 9
    assert lines[2] == f"| products of matrices | 60.0 | {60 / whole:.1%} | 6 |"
    assert lines[3] == f"| of these `aten::mm` | 50.0 | {50 / whole:.1%} | 4 |"
    assert lines[5] == f"| `aten::_softmax` | 30.0 | {30 / whole:.1%} | 1 |"  # no attention ran
    assert lines[-2] == f"| the rest | 10.0 | {10 / whole:.1%} | 100 |"
    assert lines[-1] == f"| all | {whole:.1f} | 100.0% | {10 * (grid_profile.SHOWN + 9) + 7} |"
