"""The `rankone` command, made from the table of verbs: one subcommand per verb."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from itertools import pairwise
from typing import Annotated, cast

import typer

from rankone.cli.command import command_of
from rankone.cli.grouping import Commands, Once
from rankone.cli.studio import studio_command
from rankone.core.config import plainer
from rankone.core.errors import PeerError, RankOneError
from rankone.core.escaping import visible
from rankone.core.foreign import explained
from rankone.runtime.quiet import quiet_libraries
from rankone.verbs.table import VERBS

# What the parser raises for words it cannot read.
ClickException = cast("type[Exception]", typer.BadParameter.__mro__[2])


app = typer.Typer(
    cls=Commands,
    help="Open a language model's weight matrices into rank-one parts and change it by turning the few that matter.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in VERBS.values():
    app.command(verb.name, cls=Once, epilog=" ".join(verb.lacking()))(command_of(verb))
app.command("studio", cls=Once)(studio_command())


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"rankone {metadata.version('rankone')}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and stop")
    ] = False,
) -> None:
    """Open a language model's weight matrices into rank-one parts and change it by turning the few that matter."""


def _refuse_processes(command: list[str]) -> None:
    """Only `decompose` shares its work among the processes that torchrun starts; others would do it N times over."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and command != ["decompose"]:
        raise RankOneError("torchrun is for `rankone decompose`; run the other commands without it.")


def _words(error: Exception) -> str:
    """What is wrong with the words of a command, and where to look."""
    said = plainer(getattr(error, "format_message", lambda: str(error))().strip())
    context = getattr(error, "ctx", None)
    typed = sys.argv[1:2] if set(sys.argv[1:2]) & {*VERBS, "studio"} else []
    path = context.command_path if context is not None else " ".join(["rankone", *typed])
    said = " ".join(said.split()).rstrip(".")
    if "unexpected extra argument" in said:
        said += ". A value with spaces goes in quotes"
    if re.search(r"No such option: -[\d.]", said):
        said += ". A number below zero follows its = at once, as PART=-16"
    return f"{said}{'' if said.endswith('?') else '.'} See `{path} -h`."


def _code(said: str) -> str:
    """On a terminal the code of the error's family, which `rankone doctor` explains; scripts get the words alone."""
    from rankone.doctor.families import family_of

    return f" [{family_of(said).code}]" if sys.stderr.isatty() else ""


def _refuse_empty(words: Sequence[str]) -> None:
    """An empty word, as of a variable that is not set, would stand for the current folder."""
    for before, word in pairwise(["rankone", *words]):
        if not word:
            raise RankOneError(
                f"an empty word stands after '{before}'. Is a variable not set? Give a value, or leave it out."
            )


def main() -> None:
    """Run the command; a RankOneError is one line on stderr and exit status 2, and so is what other libraries refuse."""
    quiet_libraries()
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        _refuse_processes(sys.argv[1:2])
        _refuse_empty(sys.argv[1:])
        sys.exit(app(prog_name="rankone", standalone_mode=False))
    except PeerError:  # another process prints it
        sys.exit(2)
    except RankOneError as error:
        sys.stderr.write(f"rankone: {visible(str(error))}{_code(str(error))}\n")
        sys.exit(2)
    except typer.Abort:
        sys.exit(130)
    except ClickException as error:
        sys.stderr.write(f"rankone: {visible(_words(error))}\n")
        sys.exit(2)
    except Exception as error:
        said = explained(error)
        if said is None:
            raise
        sys.stderr.write(f"rankone: {visible(said)}\n")
        sys.exit(2)
