"""Commands that bring in what others made: import."""

from __future__ import annotations

from typing import Annotated, cast, get_args

import typer

from rankone.cli.common import Out
from rankone.core.errors import RankOneError
from rankone.render.tables import Table
from rankone.render.terminal import print_table
from rankone.runtime.progress import console

commands = typer.Typer()


@commands.command(name="import")
def import_(
    source: Annotated[str, typer.Argument(help="folder, wandb:ENTITY/PROJECT/runs/ID, or Hub repository")],
    out: Out,
    target: Annotated[str | None, typer.Option(help="the target's run, where SOURCE lacks it")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="tokenizer.json, model directory or Hub name, if not the run's own")
    ] = None,
    storage: Annotated[str, typer.Option(help="float32 (exact), bfloat16 or int8")] = "float32",
) -> None:
    """Read a published target and its decomposition and write them as OUT/model and OUT/decomposition."""
    from rankone.core.artifact import refuse_existing
    from rankone.decomposition.importers.published import import_published
    from rankone.decomposition.importers.source import open_source
    from rankone.decomposition.storage import Storage

    if storage not in get_args(Storage):
        raise RankOneError(f"unknown storage '{storage}'; choose one of {', '.join(get_args(Storage))}.")
    refuse_existing(out)
    found = import_published(open_source(source, target), out, tokenizer, cast(Storage, storage))
    if not found.tokenizer:
        console.print("no tokenizer in the run: commands that read text need one, see --tokenizer")
    if found.decomposition is None:
        console.print(f"wrote {found.model}; the source has no decomposition", markup=False)
        return
    rows = [[site, count, found.unexplained[site]] for site, count in found.counts.items()]
    caption = f"{sum(found.counts.values()):,} subcomponents; unexplained: ‖W − (V U)ᵀ‖² / ‖W‖²"
    print_table(Table.of(f"{out}: model and decomposition", ["site", "C", "unexplained"], rows, caption))
