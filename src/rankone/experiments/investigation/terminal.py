"""An investigation on the terminal; everything quoted passes through `escaping.visible`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from rankone.core.escaping import visible
from rankone.experiments.investigation import shown
from rankone.experiments.investigation.study import Investigation
from rankone.experiments.investigation.words import summary


def investigation(study: Investigation) -> Iterator[RenderableType]:
    """The summary, the tables and the worst contexts."""
    yield Text(f"\n{visible(study.page.part)}", style="bold")
    for label in study.labels:
        yield Text(f"{visible(label.label)} ({visible(label.source)}, {label.confidence:.2f})")
    for sentence in summary(study):
        yield Text(f"  {visible(sentence)}")
    worst = [shown.contexts(f, study.strongest) for f in study.suffering or study.findings[:1]]
    tables = (shown.rises(study), shown.causes(study), shown.direct(study), shown.follows(study), *worst)
    yield from (table for table in tables if table is not None)
