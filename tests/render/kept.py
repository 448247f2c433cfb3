"""Tables that commands print on the built-in model, kept as JSON: every kind is drawn at every width without computing it.

`python -m tests.render.renew` types the commands again and keeps what they print now.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from rankone.render.columns import Column
from rankone.render.tables import Table

PRINTED = Path(__file__).with_name("printed.json")
# Rows that are kept of a table.
ROWS = 12


def keep(path: str) -> None:
    """In a process that does a command: also write the tables that it prints to a file."""
    from rankone.cli import command

    say = command.say

    def kept(reply) -> None:
        Path(path).write_text(json.dumps([as_json(table) for table in reply.tables()]), "utf8")
        say(reply)

    command.say = kept


def as_json(table: Table) -> dict[str, object]:
    """A table as plain values."""
    first = table.head(ROWS)
    return {**asdict(first), "strong": sorted(first.strong)}


def from_json(kept: Mapping) -> Table:
    """A table as it was."""
    columns = [Column(**column) for column in kept["columns"]]
    return Table.of(kept["title"], columns, kept["rows"], kept["caption"], kept["strong"])


def kind(command: str, table: Mapping) -> str:
    """A verb's tables with the same columns are of one kind; those with a column per domain differ in these alone."""
    return " ".join([command.split()[0], *(column["name"] for column in table["columns"])])


def kinds(commands: Mapping[str, Iterable[Mapping]]) -> dict[str, tuple[str, Mapping]]:
    """Kind → the first command that printed one, and the table."""
    found: dict[str, tuple[str, Mapping]] = {}
    for command, tables in commands.items():
        for table in tables:
            found.setdefault(kind(command, table), (command, table))
    return found


def write(commands: Mapping[str, Iterable[Mapping]], path: Path) -> None:
    """Keep one table of every kind."""
    rows = [{"command": command, "table": table} for command, table in kinds(commands).values()]
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", "utf8")


def printed() -> list[tuple[str, Table]]:
    """Every kind of table that was kept, with the command that printed it."""
    return [(one["command"], from_json(one["table"])) for one in json.loads(PRINTED.read_text("utf8"))]
