"""An investigation on the terminal; everything quoted passes through `escaping.visible`."""

from __future__ import annotations

from rankone.core.escaping import visible
from rankone.experiments.investigation import shown
from rankone.experiments.investigation.study import Investigation
from rankone.experiments.investigation.words import summary
from rankone.render.terminal import print_table
from rankone.runtime.progress import console


def print_investigation(found: Investigation) -> None:
    """Print the summary, the tables and the worst contexts."""
    console.print(f"\n{visible(found.page.part)}", style="bold", markup=False)
    for label in found.labels:
        console.print(
            f"{visible(label.label)} ({visible(label.source)}, {label.confidence:.2f})", markup=False
        )
    for sentence in summary(found):
        console.print(f"  {visible(sentence)}", markup=False)
    worst = [shown.contexts(f, found.strongest) for f in found.suffering or found.findings[:1]]
    for table in (shown.rises(found), shown.causes(found), shown.direct(found), shown.follows(found), *worst):
        if table is not None:
            print_table(table)
