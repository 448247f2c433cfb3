"""`rankone studio`: the one command that serves instead of answering, and so stands outside the table of verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankone.cli.output import say
from rankone.core.errors import RankOneError
from rankone.opening import Opening, OpenOptions

_FIELDS = OpenOptions.model_fields


def _option(name: str) -> object:
    return typer.Option(help=_FIELDS[name].description)


def studio(
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
        int, typer.Option(help="with --export: parts of every domain that get a page", min=0)
    ] = 10,
    model: Annotated[str, _option("model")] = "mini",
    decomposition: Annotated[str | None, _option("decomposition")] = None,
    text: Annotated[str, _option("text")] = "builtin",
    parts: Annotated[Path | None, _option("parts")] = None,
    harvest: Annotated[Path | None, _option("harvest")] = None,
    labels: Annotated[Path | None, _option("labels")] = None,
    device: Annotated[str | None, _option("device")] = None,
    dtype: Annotated[
        str, typer.Option(help=_FIELDS["dtype"].description, metavar="float32|bfloat16")
    ] = "float32",
) -> None:
    """See inside the model in the browser: turn a number, watch everything else, keep the edit."""
    named = {
        "model": model,
        "decomposition": decomposition,
        "text": text,
        "parts": parts,
        "harvest": harvest,
        "labels": labels,
        "device": device,
        "dtype": dtype,
    }
    options = OpenOptions.checked({k: v for k, v in named.items() if v is not None}, "studio")
    Opening(options).preflight(tuple(named))
    folder = _folder(workspace)
    if export is not None:
        return _exported(options, folder, export, pages)
    from rankone.studio.serve import serve

    serve(options, folder, port, not no_browser, allow_remote or "127.0.0.1", public_host)


def _exported(options: OpenOptions, workspace: Path, out: Path, pages: int) -> None:
    from rankone.studio.standing.folder import write_folder

    say(write_folder(Opening(options), workspace, out, pages))


def _folder(workspace: Path | None) -> Path:
    """The workspace, `runs` where none is named; RankOneError where there is no such folder."""
    if workspace is None:
        workspace = Path("runs")
        workspace.mkdir(exist_ok=True)
    if not workspace.is_dir():
        raise RankOneError(f"no workspace at '{workspace}'. Make the folder, or name another.")
    return workspace
