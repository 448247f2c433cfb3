"""A matplotlib figure on a page: inline SVG with real text, in the page's colours, and words for who does not see it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup
from matplotlib.figure import Figure

from rankone.core.escaping import html_text
from rankone.render.colours import by_variable
from rankone.render.theme import svg

# Pixels per point: text of 9 points comes out at 13 pixels in every figure, however wide.
SCALE = 1.44


@dataclass(frozen=True)
class Drawing:
    """A drawn figure: `file` is the SVG that stands alone, `alt` says what is seen, `caption` what it is.

    key: what each colour (`#rrggbb`) stands for, shown where a screen is too narrow for the names at the figure's edge.
    """

    file: str
    alt: str
    caption: str = ""
    key: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def swatches(self) -> list[tuple[str, str]]:
        """Name and colour of each line of the key, the colour as the page's variable."""
        return [(name, by_variable(colour.lower())) for name, colour in self.key.items()]

    @property
    def inline(self) -> Markup:
        """The SVG for the page."""
        body = re.sub(
            r"^.*?(?=<svg)|<style.*?</style>|<metadata.*?</metadata>", "", self.file, flags=re.DOTALL
        )
        width = float(re.search(r'width="([\d.]+)pt"', body)[1]) * SCALE  # pyright: ignore[reportOptionalSubscript]
        body = re.sub(r' (?:width|height)="[\d.]+pt"', "", body, count=2)
        start = f'<svg role="img" aria-label="{html_text(self.alt)}" style="width:{width:.0f}px"'
        return Markup(by_variable(body).replace("<svg", start, 1))


def drawing(
    fig: Figure, name: str, alt: str, caption: str = "", key: Mapping[str, str] | None = None
) -> Drawing:
    """Draw `fig`; `name` begins its ids, so that many fit on one page; key: Drawing's, the colour of each name."""
    return Drawing(svg(fig, name), alt, caption, key or {})
