"""The one HTML engine: Jinja2 templates, autoescaped, every value made inert; a page runs no script and loads nothing."""

from __future__ import annotations

import functools
import re

import jinja2
from markupsafe import Markup

from rankone.core.escaping import SHOWN, clipped, html_text, visible
from rankone.render import colours
from rankone.render.columns import BAR, LEVEL, TOKEN, Tabular, Value, is_words, share
from rankone.render.values import formatted, percent, signed

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
# Characters of a word that three columns of a phone's width hold whole.
LONG_WORD = 12


def rendered(template: str, **values: object) -> str:
    """The page that `templates/{template}` makes of `values`; whatever is not Markup is foreign text and comes out inert."""
    return _engine().get_template(template).render(values)


def table_html(table: Tabular, name: str = "") -> Markup:
    """A table as HTML; `name` becomes its id."""
    return Markup(_engine().get_template("table.html").render(table=table, name=name))


@functools.cache
def _engine() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("rankone.render"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_inert,
    )
    made.filters |= {"cut": cut, "passage": passage, "signed": signed, "token": token}
    made.filters |= {"formatted": formatted, "percent": percent}
    made.globals |= {
        "policy": POLICY,
        "light": colours.LIGHT | colours.variables(colours.CARD),
        "dark": colours.DARK | colours.variables(colours.DARK["card"]),
        "cell": cell,
        "is_words": is_words,
        "stacks": stacks,
    }
    return made


def _inert(value: object) -> object:
    """Numbers and safe HTML as they are, all else with its hidden characters made visible; Jinja2 escapes it after that."""
    return value if isinstance(value, Markup | int | float) else visible(value)


def cut(value: object) -> str:
    """At most SHOWN characters of a foreign text; of one that is longer it is said how long it is."""
    length = len(str(value))
    return clipped(value, SHOWN) + (f" (cut: it has {length:,} characters)" if length > SHOWN else "")


def token(value: object) -> Markup:
    """One token as inert HTML, its outer spaces shown as ␣."""
    raw = "" if value is None else str(value)
    kept = raw.strip(" ")
    left = len(raw) - len(raw.lstrip(" "))
    right = len(raw) - len(kept) - left if kept else 0
    return Markup(f"<code>{html_text('␣' * left + kept + '␣' * right)}</code>")


def passage(value: object) -> Markup:
    """Running text as inert HTML: line breaks are kept and shown as ↵, other controls made visible."""
    return Markup("↵\n".join(html_text(line) for line in str(value).split("\n")))


def stacks(table: Tabular) -> bool:
    """Whether a phone has no room for the rows of a table: many columns, or text beside the first."""
    count = len(table.columns)
    return count > 5 or (count > 3 and any(is_words(table, place) for place in range(1, count)))


def cell(table: Tabular, place: int, row: tuple[Value, ...]) -> Markup:
    """One cell: its value as HTML, with the classes and the shade that its column asks for."""
    column, value = table.columns[place], row[place]
    names = ["words"] if is_words(table, place) or column.format == BAR else []
    names += ["over"] if column.stands_out(value) else []
    names += _width(column.text(value)) if names[:1] == ["words"] else []
    style = ""
    if column.shade and isinstance(value, int | float):
        names.append("shaded")
        style = f' style="--g:{_depth(table, value):.2f}"'
    kind = f' class="{" ".join(names)}"' if names else ""
    # On a phone a row is a card, and each cell of it says what it is.
    says = f' data-label="{html_text(column.name)}"' if place and column.name.strip() else ""
    return Markup(f'<td role="cell"{says}{kind}{style}>{_body(table, place, row)}</td>')


def _width(text: str) -> list[str]:
    """Of text in a cell: `long` where a narrow page has to break a word of it, `span` where it is figures alone."""
    if any(len(word) > LONG_WORD for word in text.split()):
        return ["long"]
    return ["span"] if re.fullmatch(r"[\d\s.,/()+−–]+(?:to[\d\s.,/()+−–]+)*", text) else []


def _body(table: Tabular, place: int, row: tuple[Value, ...]) -> str:
    column, value = table.columns[place], row[place]
    if column.format in (BAR, LEVEL):
        kind = "bar" if column.format == BAR else "level"
        return f'<span class="{kind}" style="--w:{share(table, place, row):.3f}"></span>'
    if isinstance(value, tuple):
        return " ".join(map(token, value))
    return token(value) if column.format == TOKEN and value is not None else html_text(column.text(value))


def _depth(table: Tabular, value: float) -> float:
    """How dark a shaded cell is, 0 to 1, against the largest of all shaded columns."""
    places = [i for i, c in enumerate(table.columns) if c.shade]
    sizes = [row[i] for row in table.rows for i in places]
    return max(value, 0.0) / (max(float(v) for v in sizes if isinstance(v, int | float)) or 1.0)
