"""HTML for reports and pages: all from tables or corpora passes through `inert.html_text`; nothing loads from outside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rankone.core.escaping import html_text as text

POLICY = "default-src 'none'; style-src 'unsafe-inline'"

CSS = """
:root {
  --ink: #1f2328; --muted: #5c6670; --line: #d7dce1;
  --paper: #f6f7f9; --card: #fff; --accent: #b34700;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6e9ec; --muted: #a2abb4; --line: #3b434b;
    --paper: #14181c; --card: #1d2329; --accent: #ff9a57;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .5rem 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .5rem; }
p, li { max-width: 75ch; }
p.lead { font-size: 1.12rem; }
.note, figcaption { color: var(--muted); font-size: .88rem; }
nav { font-size: .9rem; }
nav a { color: var(--accent); margin-right: .9rem; white-space: nowrap; }
figure { margin: 1rem 0; }
.drawing, .scroll, .pair > div { border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
.drawing { background: #fff; padding: .8rem; overflow-x: auto; }
.drawing svg * { stroke-linejoin: round; stroke-linecap: butt; }
.drawing svg { display: block; width: 100%; min-width: 600px; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { color: var(--muted); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, .words { text-align: left; }
tr:last-child td { border-bottom: 0; }
td.strong { font-weight: 700; }
td.over { color: var(--accent); font-weight: 700; }
code, .text { font-family: ui-monospace, monospace; font-size: .84rem; }
td code { background: var(--paper); border-radius: 3px; padding: 0 .25em; white-space: pre-wrap; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; margin: .4rem 0 1.2rem; }
.pair > div { padding: .6rem .8rem; }
.pair .text { white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0 0; }
.prompt { color: var(--muted); }
@media (max-width: 640px) { .pair { grid-template-columns: 1fr; } h1 { font-size: 1.35rem; } }
"""


@dataclass(frozen=True)
class Section:
    """One part of the page: its anchor, its heading and its HTML."""

    anchor: str
    heading: str
    body: str


@dataclass(frozen=True)
class Cell:
    """One table cell: HTML that is already safe, and the class that styles it."""

    body: str
    style: str = ""


def token(value: object) -> str:
    """One token as inert HTML, its outer spaces shown as ␣."""
    raw = "" if value is None else str(value)
    kept = raw.strip(" ")
    left = len(raw) - len(raw.lstrip(" "))
    right = len(raw) - len(kept) - left if kept else 0
    return f"<code>{text('␣' * left + kept + '␣' * right)}</code>"


def passage(value: object) -> str:
    """Running text as inert HTML: line breaks are kept and shown as ↵, other controls made visible."""
    return "↵\n".join(text(line) for line in str(value).split("\n"))


def paragraph(body: str, style: str = "") -> str:
    """A paragraph of safe HTML."""
    return f'<p class="{style}">{body}</p>' if style else f"<p>{body}</p>"


def table(
    name: str, header: Sequence[str], rows: Sequence[Sequence[Cell | str]], words: Sequence[int] = ()
) -> str:
    """A table of safe HTML cells with id `name`; the columns `words` are left-aligned, the others right."""
    head = "".join(
        f'<th scope="col"{_style("words", i in words)}>{cell}</th>' for i, cell in enumerate(header)
    )
    body = "\n".join(f"<tr>{_cells(row, words)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table id="{name}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cells(row: Sequence[Cell | str], words: Sequence[int]) -> str:
    cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
    return "".join(
        f"<td{_style(c.style or 'words', bool(c.style) or i in words)}>{c.body}</td>"
        for i, c in enumerate(cells)
    )


def _style(name: str, wanted: bool) -> str:
    return f' class="{name}"' if wanted else ""


def drawing(svg: str, alt: str, caption: str) -> str:
    """A figure on a white card: inline `svg`, described by `alt` for readers who do not see it."""
    inline = re.sub(r"^.*?(?=<svg)", "", svg, count=1, flags=re.DOTALL)
    inline = inline.replace("<svg", f'<svg role="img" aria-label="{text(alt)}"', 1)
    inline = re.sub(r"<style.*?</style>", "", inline, flags=re.DOTALL)
    return f'<figure><div class="drawing">{inline}</div><figcaption>{caption}</figcaption></figure>'


def page(title: str, lead: str, sections: Sequence[Section], style: str = "") -> str:
    """The whole self-contained page: no script, and a policy that forbids loading anything.

    style: CSS of its own, after the common one.
    """
    links = " ".join(f'<a href="#{s.anchor}">{s.heading}</a>' for s in sections)
    body = "\n".join(f'<section id="{s.anchor}"><h2>{s.heading}</h2>\n{s.body}</section>' for s in sections)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{CSS}{style}</style></head>
<body><main><h1>{title}</h1>
{lead}
<nav>{links}</nav>
{body}
</main></body></html>
"""
