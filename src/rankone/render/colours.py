"""The colours of figures and pages, on light paper and on dark; text in a colour keeps a contrast of 4.5 on both."""

from __future__ import annotations

INK, MUTED, FAINT = "#1f2328", "#5c6670", "#d7dce1"
SUCCESS = "#e6f2ea"
CARD = "#ffffff"
# The ground of a whole figure: not white to the last bit, so that a page tells it from the card's white and leaves it out.
GROUND = "#fffffe"
# Okabe and Ito's colour-blind-safe set, its yellow left out (illegible on white).
PALETTE = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#B07D00", "#444444", "#7B4FA3")
LIGHT = {
    "ink": INK,
    "muted": MUTED,
    "line": FAINT,
    "paper": "#f6f7f9",
    "card": CARD,
    "accent": "#b34700",
    "success": SUCCESS,
}
DARK = {
    "ink": "#e6e9ec",
    "muted": "#a2abb4",
    "line": "#3b434b",
    "paper": "#14181c",
    "card": "#1d2329",
    "accent": "#ff9a57",
    "success": "#1d3a2b",
}
CONTRAST = 4.6


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, 0 to 1 (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def readable(colour: str, ground: str) -> str:
    """`colour`, moved towards black or white until it stands out from `ground` by CONTRAST."""
    goal = 0 if luminance(ground) > 0.5 else 255
    parts, moved = [int(colour[i : i + 2], 16) for i in (1, 3, 5)], colour
    for step in range(101):
        moved = "#" + "".join(f"{round(p + (goal - p) * step / 100):02x}" for p in parts)
        if contrast(moved, ground) >= CONTRAST:
            return moved
    return moved


def text_colour(colour: str) -> str:
    """A colour of the palette for text on white."""
    return readable(colour, CARD)


def variables(ground: str) -> dict[str, str]:
    """The palette as CSS variables on `ground`: c0, c1, … for marks and t0, t1, … for text."""
    text = {f"t{i}": readable(colour, ground) for i, colour in enumerate(PALETTE)}
    marks = PALETTE if ground == CARD else text.values()
    return {f"c{i}": colour.lower() for i, colour in enumerate(marks)} | text


def by_variable(svg: str) -> str:
    """An SVG whose colours are the page's variables, so that it follows light and dark."""
    named = {LIGHT[name]: name for name in ("ink", "muted", "line", "card", "success")}
    named |= {value: name for name, value in variables(CARD).items()}
    svg = svg.replace(f"fill: {GROUND}", "fill: none")
    for value, name in named.items():
        svg = svg.replace(value, f"var(--{name})")
    return svg
