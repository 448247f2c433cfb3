"""Settings of a harvest that make no sense are refused."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.harvest.config import HarvestConfig


@pytest.mark.parametrize(
    "given",
    [
        {"context": 1},
        {"domains": ("de", "de")},
        {"domains": ()},
        {"thresholds": (0.0, 1.0)},
        {"thresholds": (0.1, 0.1)},
        {"firing": 0.3},
        {"window": -1},
        {"top_tokens": 0},
        {"least_probability": 1.1},
    ],
)
def test_senseless_settings_are_refused(given):
    HarvestConfig(domains=("de",), context=2, window=0)
    with pytest.raises(RankOneError):
        HarvestConfig.checked({"domains": ("de",), **given}, "harvest")
