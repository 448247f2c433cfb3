"""How a value reads: numbers with a true minus sign and digits that mean something, text of others made inert."""

from __future__ import annotations

from rankone.core.escaping import visible

NONE = "–"
PLACEHOLDER = "␣"


def number(value: float, digits: int = 3) -> str:
    """A number with a true minus sign; more than a thousand without decimals."""
    return _typeset(f"{value:.{digits if abs(value) < 1000 else 0}f}")


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign, `+0.012` or `−0.003`; a rounded zero has none."""
    text = number(value, digits)
    return text if text.startswith("−") or not any(d in text for d in "123456789") else f"+{text}"


def percent(share: float) -> str:
    """A share to three digits, in hundredths of a percent at most: `0.12%`, `9.07%`, `66.3%`."""
    if share == 0:
        return "0"
    return "<0.01%" if share < 1e-4 else f"{100 * share:.{2 if share < 0.0995 else 1}f}%"


def spanned(value: float, low: float | None, high: float | None, digits: int = 3) -> str:
    """A number with its sign and, where it has one, its interval: `+0.012 (−0.003 to +0.027)`."""
    ends = "" if low is None or high is None else f" ({signed(low, digits)} to {signed(high, digits)})"
    return signed(value, digits) + ends


def formatted(value: object, spec: str = "") -> str:
    """A cell's value as one line of plain text.

    spec: a Python format specification for numbers; without one a float keeps three decimals, or three significant
    digits where those would say nothing.
    """
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _typeset(format(value, spec or _usual(value)))
    return visible(value)


def shown_token(text: str) -> str:
    """A token on one line, its spaces shown as ␣."""
    return visible(text.replace(" ", PLACEHOLDER))


def _usual(value: float) -> str:
    if isinstance(value, int):
        return ","
    return ".3f" if value == 0 or 0.001 <= abs(value) < 1000 else ".3g"


def _typeset(text: str) -> str:
    """A true minus sign; a rounded zero has no sign."""
    nothing = not any(c in text for c in "123456789") and any(c == "0" for c in text)
    return text.lstrip("+-") if nothing else text.replace("-", "−")
