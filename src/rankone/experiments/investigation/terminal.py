"""An investigation on the terminal; everything quoted passes through `escaping.visible`."""

from __future__ import annotations

from rankone.core.escaping import visible
from rankone.experiments.investigation import shown
from rankone.experiments.investigation.study import Investigation
from rankone.experiments.investigation.words import summary
from rankone.render.terminal import print_table
from rankone.runtime.progress import console


def print_investigation(study: Investigation) -> None:
    """Print the summary, the tables and the worst contexts."""
    console.print(f"\n{visible(study.page.part)}", style="bold", markup=False)
    for label in study.labels:
        console.print(
            f"{visible(label.label)} ({visible(label.source)}, {label.confidence:.2f})", markup=False
        )
    for sentence in summary(study):
        console.print(f"  {visible(sentence)}", markup=False)
    worst = [shown.contexts(f, study.strongest) for f in study.suffering or study.findings[:1]]
    for table in (shown.rises(study), shown.causes(study), shown.direct(study), shown.follows(study), *worst):
        if table is not None:
            print_table(table)
