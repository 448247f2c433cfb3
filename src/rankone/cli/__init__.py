"""The `rankone` command, made from the table of verbs: one subcommand per verb."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from itertools import pairwise
from typing import Annotated, cast

import typer

from rankone.cli.grouping import Commands, Once
from rankone.cli.misread import misread
from rankone.cli.model_word import OptionalModel
from rankone.cli.output import write_all_characters
from rankone.cli.studio import studio_command
from rankone.core.errors import PeerError, RankOneError
from rankone.core.escaping import visible
from rankone.core.foreign import explained
from rankone.runtime.memory import spare_imported
from rankone.runtime.quiet import quiet_libraries

# The exit status of a command that Ctrl-C broke off, as shells and the parser have it.
INTERRUPTED = 130
# What the parser raises for words it cannot read.
ClickException = cast("type[Exception]", typer.BadParameter.__mro__[2])


def commands(named: Sequence[str] = ()) -> typer.Typer:
    """All commands; where `studio` is named it alone, since the models of all verbs take as long as its own server."""
    made = typer.Typer(
        cls=Commands,
        help="Open a language model's weight matrices into rank-one parts and change it by turning the few that matter.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_options)
    if list(named) != ["studio"]:
        from rankone.cli.command import command_of
        from rankone.verbs.table import VERBS

        for verb in VERBS.values():
            kind = OptionalModel if verb.names_model else Once
            made.command(verb.name, cls=kind, epilog=" ".join(verb.lacking()))(command_of(verb))
    made.command("studio", cls=OptionalModel)(studio_command())
    return made


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"rankone {metadata.version('rankone')}\n")
        raise typer.Exit


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


def _interrupted(command: Sequence[str]) -> str:
    """What a user who pressed Ctrl-C should know: commands that go on say so in their help."""
    from rankone.verbs.table import VERBS

    said = next((VERBS[name].run.__doc__ or "" for name in command if name in VERBS), "")
    goes_on = "goes on" in said or "resumes" in said
    return "interrupted. " + (
        "The same command goes on where it stood." if goes_on else "Nothing half-made is left."
    )


def _code(said: str) -> str:
    """On a terminal the code of the error's family, which `rankone doctor` explains; scripts get the words alone."""
    from rankone.doctor.families import family_of

    return f" [{family_of(said).code}]" if sys.stderr.isatty() else ""


def _asked_for_help(words: list[str]) -> list[str]:
    """`help`, `help rank` and `-h rank` as the parser reads them; no word at all asks for help too."""
    if not words or words[0] == "help":
        return [*words[1:], "--help"]
    if words[0] in ("-h", "--help"):
        return [*words[1:], words[0]]
    return words


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
    spare_imported()
    write_all_characters(sys.stdout)
    write_all_characters(sys.stderr)
    sys.argv[1:] = _asked_for_help(sys.argv[1:])
    try:
        _refuse_processes(sys.argv[1:2])
        _refuse_empty(sys.argv[1:])
        status = commands(sys.argv[1:2])(prog_name="rankone", standalone_mode=False)
        if status == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(status)
    except PeerError:  # another process prints it
        sys.exit(2)
    except RankOneError as error:
        sys.stderr.write(f"rankone: {visible(str(error))}{_code(str(error))}\n")
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write(f"\nrankone: {_interrupted(sys.argv[1:2])}\n")
        sys.exit(INTERRUPTED)
    except ClickException as error:
        sys.stderr.write(f"rankone: {visible(misread(error, sys.argv[1:]))}\n")
        sys.exit(2)
    except Exception as error:
        said = explained(error)
        if said is None:
            raise
        sys.stderr.write(f"rankone: {visible(said)}\n")
        sys.exit(2)
