"""What a printed page must not lose: browsers leave backgrounds out unless a rule says that they are content."""

from __future__ import annotations

import re
from pathlib import Path

import rankone.render

TEMPLATES = Path(rankone.render.__file__).parent / "templates"
CSS = (TEMPLATES / "page.css").read_text("utf8")
# A background that shows a value: a colour of the data (--c0 …, --hue), or one as strong as a number (--g).
OF_DATA = re.compile(r"^\s*([^{}@]+)\{[^}]*background:[^;}]*var\(--(?:c\d|g|hue)\b", re.MULTILINE)


def printed() -> set[str]:
    """Selectors whose backgrounds are printed."""
    (rule,) = re.findall(r"^\s*([^{}]+)\{ print-color-adjust: exact; \}", CSS, re.MULTILINE)
    return {one.strip() for one in rule.split(",")}


def test_every_background_that_shows_a_value_is_printed():
    sources = [CSS, *((TEMPLATES / f"{name}.html").read_text("utf8") for name in ("portrait", "report"))]
    shown = {one.strip() for source in sources for rule in OF_DATA.findall(source) for one in rule.split(",")}
    assert shown >= {".bar", ".level", "td.shaded", "mark"}
    assert shown <= printed()
