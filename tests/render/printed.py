"""A table as the demo prints it: a method, a budget, and a rise per domain."""

from __future__ import annotations

from rankone.render.columns import Column
from rankone.render.tables import Table

DOMAINS = ("de", "en", "fr", "es", "it", "nl", "sv")
METHODS = ("one scalar", "top-16 scalars", "LoRA rank 1, every matrix of the model", "LoRA rank 1")


def demo() -> Table:
    columns = [
        *(
            "method",
            Column("budget", priority=3),
            Column("success", priority=2),
            Column("German CE", ".2f", priority=3),
        ),
        *(Column(d, "+.2f") for d in DOMAINS),
        Column("found in", priority=0),
    ]
    rows = [
        [m, 1600 * i, f"{i}/9", 8.3 + i, *(0.03 * j - 0.02 * i for j in range(7)), "label, domain"]
        for i, m in enumerate(METHODS)
    ]
    return Table.of("Forgetting [bold]German[/bold]", columns, rows, "damage: mean rise of CE on test text")
