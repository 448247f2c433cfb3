"""One name of a harvest on the terminal. All text of corpora and labels goes through `inert.visible` into rich Text."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.style import Style
from rich.text import Text

from rankone.core.escaping import visible
from rankone.harvest.reading.page import Example
from rankone.show import tables
from rankone.show.portrait import Portrait, cluster_words, strongest
from rankone.text.vocabulary import with_neighbours

_MEMBERS = 12
# Backgrounds for importances above 0.05, .25, .5, .75: activations above zero in orange, below in blue.
_STEPS = (0.05, 0.25, 0.5, 0.75)
_PLUS = ("#fbe3d2", "#f7c09b", "#f29a5f", "#e8742a")
_MINUS = ("#d6e6f5", "#a5c8ea", "#6fa6da", "#3d84c6")


def portrait(shown: Portrait, examples: int = 12, tokens: int = 12) -> Iterator[RenderableType]:
    """The whole page, from its head to its neighbours."""
    yield _head(shown)
    members, response = tables.members(shown, _MEMBERS), tables.response(shown)
    yield from [members] if members else []
    yield from [tables.domains(shown), tables.inputs(shown, tokens), tables.outputs(shown, tokens)]
    yield from _examples(shown, examples)
    yield from [tables.cofiring(shown), *tables.directions(shown), *shown.around]
    yield from [response] if response else []
    said = "no neighbours by direction: give --decomposition, or none is near"
    yield Text(tables.NEAREST if shown.directions else said, style="dim")


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
    return Panel(Group(*lines), title=Text(visible(page.part), style="bold"), title_align="left")


def _examples(shown: Portrait, count: int) -> Iterator[RenderableType]:
    examples = strongest(shown.page.examples, count)
    yield Text(f"\nExamples: {len(examples)} of a uniform sample of the firings", style="bold")
    yield Text("background: importance; orange: activation above 0, blue: below; ⟨token⟩ fires", style="dim")
    yield from map(highlighted, examples)


def highlighted(example: Example) -> Text:
    """One window with the background of each token by its importance, and the firing token in ⟨⟩."""
    line = Text(f"{visible(example.domain)[:6]:<6} ", style="dim")
    tokens = with_neighbours(example.tokens, example.centre)
    values = zip(tokens, example.importances, example.activations, strict=True)
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
