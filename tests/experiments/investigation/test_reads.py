"""Tokens read per domain, from a page made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.labels.pages import example, page

from rankone.experiments.investigation.reads import Read, reads


def test_pmi_within_the_domain():
    """Three of four German firings are on token 1, 10 of 100 tokens there; token 2 is seen once; token 3 is common."""
    german = [example("de", ["x", f"t{i}"], 1, ids=[0, i]) for i in (1, 1, 1, 2)]
    english = [example("en", [f"t{i}"], 0, ids=[i]) for i in (3, 3, 1, 1)]
    counts = {
        "de": np.array([50, 10, 20, 20]),
        "en": np.array([0, 10, 0, 90]),
        "fr": np.array([1, 0, 0, 0]),
    }
    found = reads(page(examples=german + english), counts, 5)
    assert found["de"] == [Read("t1", 3, 0.75, pytest.approx(math.log(7.5)))]
    assert found["en"] == [Read("t1", 2, 0.5, pytest.approx(math.log(5)))]
    assert found["fr"] == []


def test_at_most_so_many():
    german = [example("de", [f"t{i}"], 0, ids=[i]) for i in range(6) for _ in range(i + 2)]
    counts = {"de": np.array([1] * 6 + [1000])}
    assert [r.token for r in reads(page(examples=german), counts, 3)["de"]] == ["t5", "t4", "t3"]
