"""These tests are all tiny: threads only cost them."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread(_seeded):
    torch.set_num_threads(1)
