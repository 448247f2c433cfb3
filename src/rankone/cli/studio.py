"""`rankone studio`: the one command that serves instead of answering, and so stands outside the table of verbs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from rankone.cli.parameters import parameter_of
from rankone.core.errors import RankOneError
from rankone.opening import Opening, OpenOptions

# What is opened, as `OpenOptions` has it; clusters have no list of their own here.
OPENED = {name: field for name, field in OpenOptions.model_fields.items() if name != "clusters"}

# The workspace where none is named.
DEFAULT = Path("runs")
# Parts of every domain that get a page of their own in an export.
PAGES = 10


def studio_command() -> Callable[..., None]:
    """A function that typer can read: what `_studio` takes, and an option for all that can be opened."""

    def body(**given: object) -> None:
        named = {name: given.pop(name) for name in OPENED}
        options = OpenOptions.checked({k: v for k, v in named.items() if v is not None}, "studio")
        Opening(options).preflight(tuple(named))
        _studio(options, **given)  # pyright: ignore[reportArgumentType]

    taken = list(inspect.signature(_studio, eval_str=True).parameters.values())[1:]
    opened = [parameter_of(name, field, placed=False) for name, field in OPENED.items()]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*taken, *opened)]
    body.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    body.__annotations__ = {p.name: p.annotation for p in parameters}
    body.__doc__ = _studio.__doc__
    return body


def _studio(
    options: OpenOptions,
    workspace: Annotated[
        Path | None,
        typer.Argument(help="folder with artefacts; the journal and exports go there [default: runs]"),
    ] = None,
    port: Annotated[int, typer.Option(help="port; 0 takes a free one", min=0, max=65535)] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="print the address, open no browser")
    ] = False,
    allow_remote: Annotated[
        str | None,
        typer.Option(help="listen on this address of the machine, not on loopback alone", metavar="ADDRESS"),
    ] = None,
    public_host: Annotated[
        str | None, typer.Option(help="with --allow-remote: the name by which the server is reached")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            help="serve nothing: write the workspace as pages to this folder, for any static host",
            metavar="DIR",
        ),
    ] = None,
    pages: Annotated[
        int | None,
        typer.Option(help="with --export: parts of every domain that get a page [default: 10]", min=0),
    ] = None,
) -> None:
    """See inside the model in the browser: turn a number, watch everything else, keep the edit."""
    folder = _folder(workspace)
    serving = {"--port": port, "--no-browser": no_browser, "--allow-remote": allow_remote}
    unused = next((name for name, given in serving.items() if given), None)
    if export is not None and unused is not None:
        raise RankOneError(f"{unused} is for serving, and --export serves nothing: leave it out.")
    if public_host is not None and allow_remote is None:
        raise RankOneError(
            "--public-host changes nothing without --allow-remote: give both, or leave it out."
        )
    if export is not None:
        return _exported(options, folder, export, PAGES if pages is None else pages)
    if pages is not None:
        raise RankOneError(
            "--pages is for --export: the studio itself makes every page when it is asked for."
        )
    from rankone.studio.serve import serve

    serve(options, folder, port, not no_browser, allow_remote or "127.0.0.1", public_host)


def _exported(options: OpenOptions, workspace: Path, out: Path, pages: int) -> None:
    from rankone.cli.output import say
    from rankone.studio.standing.folder import write_folder

    say(write_folder(Opening(options), workspace, out, pages))


def _folder(workspace: Path | None) -> Path:
    """The workspace, `runs` where none is named, which is made; RankOneError where there is no other that is named."""
    workspace = workspace or DEFAULT
    if workspace == DEFAULT and not workspace.exists():
        workspace.mkdir()
    if not workspace.is_dir():
        raise RankOneError(f"no workspace at '{workspace}'. Make the folder, or name another.")
    return workspace
