"""Ground truth: toy targets decomposed and compared with their known mechanisms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rankone.cli.common import Out
from rankone.render.tables import Table
from rankone.render.terminal import print_table

commands = typer.Typer()


@commands.command()
def toys(
    recipe: Annotated[Path, typer.Argument(help="toy recipe (YAML), as recipes/toys/tms-5-2.yaml")],
    out: Out,
    seeds: Annotated[int, typer.Option(min=1, help="number of seeds, from 0")] = 1,
    steps: Annotated[int | None, typer.Option(min=1, help="override the decomposition's steps")] = None,
) -> None:
    """Decompose a toy whose mechanisms are known and measure how near the decomposition comes to them."""
    from rankone.decomposition.ground_truth.run import ToyRecipe, run_toys

    config = ToyRecipe.from_yaml(recipe)
    if steps is not None:
        own = config.decomposition.model_copy(update={"steps": steps})
        config = config.model_copy(update={"decomposition": own})
    print_scores(recipe.stem, run_toys(config, seeds, out))


def print_scores(name: str, rows: list[dict[str, Any]]) -> None:
    """The table of scores, one row per seed and site."""
    columns = ["site", "seed", "truth", "errors", "per_feature", "alive", "read", "write", "remainder"]
    titles = ["site", "seed", "truth", "errors", "per feature", "alive", "|cos| v", "|cos| u", "‖Δ‖²/‖W‖²"]
    caption = "errors: importances over 0.1 from the truth, one feature active at a time"
    print_table(
        Table.of(f"{name} against its truth", titles, [[row[c] for c in columns] for row in rows], caption)
    )
