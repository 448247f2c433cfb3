"""Statistics of order: Spearman's correlation and the area under the ROC curve."""

# SciPy's statistics have no types.
# pyright: reportUnknownVariableType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

Values = Sequence[float] | np.ndarray | Tensor


def spearman(a: Values, b: Values) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None where one side has no order (all equal, or n < 2)."""
    x, y = (np.asarray(side, dtype=np.float64) for side in (a, b))
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    from scipy.stats import spearmanr  # half a second: not for everything that reads labels

    return float(spearmanr(x, y)[0])  # pyright: ignore[reportArgumentType]


def roc_area(higher: Values, lower: Values) -> float:
    """Share of pairs in which the first is larger, ties as half: the area under the ROC curve (Mann and Whitney 1947)."""
    from scipy.stats import rankdata  # as above

    count = len(higher)
    ranks = rankdata(np.concatenate([np.asarray(side, dtype=np.float64) for side in (higher, lower)]))
    return float((ranks[:count].sum() - count * (count + 1) / 2) / (count * len(lower)))
