"""One name of a harvest on the terminal. All text of corpora and labels goes through `inert.visible` into rich Text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.style import Style
from rich.table import Table
from rich.text import Text

from rankone.core.escaping import visible
from rankone.harvest.reading.page import Example, TokenRow, telling
from rankone.render.bars import bar
from rankone.show.portrait import DIRECTIONS, Portrait, cluster_words, strongest
from rankone.text.domains import domain_name

_BAR, _MEMBERS = 24, 12
# Backgrounds for importances above 0.05, .25, .5, .75: activations above zero in orange, below in blue.
_STEPS = (0.05, 0.25, 0.5, 0.75)
_PLUS = ("#fbe3d2", "#f7c09b", "#f29a5f", "#e8742a")
_MINUS = ("#d6e6f5", "#a5c8ea", "#6fa6da", "#3d84c6")


def print_portrait(shown: Portrait, console: Console, examples: int = 12, tokens: int = 12) -> None:
    """Print the whole page."""
    console.print(_head(shown))
    if shown.page.members:
        console.print(_members(shown))
    console.print(_domains(shown))
    tables = [
        _tokens("Fires on", shown.page.input_tokens, tokens, "firings"),
        _tokens("Leads to", shown.page.output_tokens, tokens, "mass"),
    ]
    console.print(Columns(tables, padding=(0, 2)))
    _print_examples(shown, console, examples)
    console.print(_neighbours(shown))
    if shown.response is not None:
        console.print(_response(shown))


def _head(shown: Portrait) -> RenderableType:
    lines: list[Text] = []
    for label in shown.labels:
        line = Text(visible(label.label), style="bold")
        line.append(f"   {label.confidence:.2f} · {visible(label.source)}", style="dim")
        lines.append(line)
        if label.reasoning:
            lines.append(Text(visible(label.reasoning), style="dim"))
    if not lines:
        lines.append(Text("no label: give --labels DIR (made by `rankone label`)", style="dim"))
    page = shown.page
    lines.append(
        Text(
            f"fires {page.firings:,} times in {page.tokens:,} tokens ({shown.density:.2%}); "
            f"mean importance {page.mean_importance:.4f}, mean activation {page.mean_activation:+.3g}"
        )
    )
    above = ", ".join(f"{density:.2%} over {threshold:g}" for threshold, density in page.densities.items())
    lines.append(Text(f"tokens by importance: {above}", style="dim"))
    if shown.cluster is not None:
        lines.append(Text(cluster_words(shown, shown.cluster)))
    lines.append(Text(visible(shown.source), style="dim"))
    return Panel(Group(*lines), title=Text(visible(page.component), style="bold"), title_align="left")


def _members(shown: Portrait) -> Table:
    found = shown.page.members
    rest = f", the first {_MEMBERS}" if len(found) > _MEMBERS else ""
    table = _table(
        f"Its {len(found)} members{rest}", "subcomponent", "firings", "", "of the component's firings"
    )
    for row in found[:_MEMBERS]:
        share = Text(bar(row.share, 1.0, _BAR), style="#e8742a")
        table.add_row(Text(visible(row.component)), f"{row.firings:,}", share, f"{row.share:.0%}")
    return table


def _domains(shown: Portrait) -> Table:
    table = _table("Where", "domain", "density", "", "importance", "activation", "lift")
    largest = max((row.density for row in shown.domains), default=0.0)
    for row in shown.domains:
        table.add_row(
            Text(domain_name(row.domain)),
            f"{row.density:.2%}",
            Text(bar(row.density, largest, _BAR), style="#e8742a"),
            f"{row.mean_importance:.4f}",
            f"{row.mean_activation:+.3g}",
            f"{row.lift:.2f}",
        )
    return table


def _tokens(title: str, rows: Sequence[TokenRow], top: int, weight: str) -> Table:
    table = _table(title, "token", "PMI", weight, "precision", "recall")
    for row in telling(rows, top):
        table.add_row(
            Text(_token(row.text)),
            f"{row.pmi:.2f}",
            f"{row.weight:.4g}",
            f"{row.precision:.1%}",
            f"{row.recall:.1%}",
        )
    return table


def _token(text: str) -> str:
    return visible(text.replace(" ", "␣"))


def _print_examples(shown: Portrait, console: Console, count: int) -> None:
    found = strongest(shown.page.examples, count)
    console.print(f"\nExamples: {len(found)} of a uniform sample of the firings", style="bold", markup=False)
    console.print(
        "background: importance; orange: activation above 0, blue: below; ⟨token⟩ fires", style="dim"
    )
    for example in found:
        console.print(highlighted(example))


def highlighted(example: Example) -> Text:
    """One window with the background of each token by its importance, and the firing token in ⟨⟩."""
    line = Text(f"{visible(example.domain)[:6]:<6} ", style="dim")
    values = zip(example.tokens, example.importances, example.activations, strict=True)
    for i, (token, importance, activation) in enumerate(values):
        style = _shade(importance, activation)
        if i == example.centre:
            line.append("⟨", style="bold")
            line.append(visible(token), style=style + Style(bold=True))
            line.append("⟩", style="bold")
        else:
            line.append(visible(token), style=style)
    return line


def _shade(importance: float, activation: float) -> Style:
    step = sum(importance >= limit for limit in _STEPS)
    if not step:
        return Style(dim=False)
    return Style(color="black", bgcolor=(_PLUS if activation >= 0 else _MINUS)[step - 1])


def _neighbours(shown: Portrait) -> Group:
    table = _table("Fires together with", "component", "Jaccard", "together", "label")
    for row in shown.page.cofiring[:8]:
        name = Text(visible(row.component))
        table.add_row(
            name, f"{row.jaccard:.2f}", f"{row.joint:,}", Text(visible(shown.named.get(row.component, "")))
        )
    tables: list[RenderableType] = [table]
    for key, rows in shown.directions.items():
        table = _table(DIRECTIONS[key].capitalize(), "component", "cosine", "label")
        for row in rows:
            label = Text(visible(shown.named.get(row.component, "")))
            table.add_row(Text(visible(row.component)), f"{row.cosine:+.2f}", label)
        tables.append(table)
    if not shown.directions:
        tables.append(Text("no neighbours by direction: give --decomposition, or none is near", style="dim"))
    return Group(*tables)


def _response(shown: Portrait) -> Table:
    assert shown.response is not None
    rows = shown.response.rows
    domains = list(dict.fromkeys(row["domain"] for row in rows))
    table = _table(
        f"Rise of cross-entropy by α ({shown.response.tokens:,} validation tokens each)", "α", *domains
    )
    for alpha in dict.fromkeys(row["alpha"] for row in rows):
        own = {row["domain"]: row["rise"] for row in rows if row["alpha"] == alpha}
        table.add_row(f"{alpha:g}", *(f"{own[d]:+.3f}" for d in domains))
    return table


def _table(title: str, *columns: str) -> Table:
    """A table whose first column and whose `label` column are words."""
    table = Table(
        title=Text(title, style="bold"), title_justify="left", box=None, padding=(0, 1), header_style="dim"
    )
    for i, column in enumerate(columns):
        words = i == 0 or column in ("", "label")
        table.add_column(
            Text(visible(column)), justify="left" if words else "right", no_wrap=column != "label"
        )
    return table
