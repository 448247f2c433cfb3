"""English text about a country, to tell a language from talk of its country; written for RankOne.

Removing French must not remove what English says of France, and second moments of ordinary English hold little of that.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from rankone.text.corpus import require_split

FILE = "about.jsonl"
PREFIX = "about-"


def about_domain(language: str) -> str:
    """What text about the country of a language is called in tables: `about-fr`."""
    return PREFIX + language


def about_passages(language: str, split: str) -> list[str]:
    """Passages of a split in a fixed order; an empty list for a language without any."""
    require_split(split)
    return [row["en"] for row in _rows() if (row["about"], row["split"]) == (language, split)]


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = files("rankone.text").joinpath("data", FILE).read_text("utf8")
    return tuple(json.loads(line) for line in text.splitlines())
