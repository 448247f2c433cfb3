"""The `rankone` command: one subcommand per verb, one file per theme.

A theme's file holds a `commands` typer; it is listed in THEMES, in the order in which a user meets them.
"""

from __future__ import annotations

import os
import sys

import typer

from rankone.cli import (
    clusters,
    editing,
    examining,
    harvest,
    importing,
    investigate,
    jobs,
    label,
    reading,
    toys,
    training,
)
from rankone.core.errors import RankOneError, ToldError
from rankone.core.escaping import visible
from rankone.core.foreign import explained
from rankone.runtime.progress import report
from rankone.runtime.quiet import quiet_libraries

THEMES = (training, examining, importing, harvest, label, reading, investigate, clusters, editing, jobs, toys)

app = typer.Typer(
    help="Open a language model's weight matrices into rank-one parts and change it by turning the few that matter.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for theme in THEMES:
    app.add_typer(theme.commands)


def _refuse_processes(command: list[str]) -> None:
    """Only `decompose` shares its work among the processes that torchrun starts; others would do it N times over."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and command != ["decompose"]:
        raise RankOneError("torchrun is for `rankone decompose`; run the other commands without it.")


def main() -> None:
    """Run the command; a RankOneError is one line on stderr and exit status 2, and so is what other libraries refuse."""
    quiet_libraries()
    report()
    try:
        _refuse_processes(sys.argv[1:2])
        app()
    except ToldError:  # another process prints it
        sys.exit(2)
    except RankOneError as error:
        sys.stderr.write(f"rankone: {visible(str(error))}\n")
        sys.exit(2)
    except Exception as error:
        said = explained(error)
        if said is None:
            raise
        sys.stderr.write(f"rankone: {visible(said)}\n")
        sys.exit(2)
