"""Commands that make a harvest: harvest, merge-harvest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankone.cli.common import Clusters, Out, Split, Text, load_pair, run_dir
from rankone.render.tables import Table
from rankone.render.terminal import print_table
from rankone.runtime.progress import console

commands = typer.Typer()


@commands.command()
def harvest(
    out: Out,
    decomposition: Annotated[str, typer.Argument(help="decomposition to look into")] = "mini-decomposition",
    model: Annotated[str, typer.Option(help="the model it was made from")] = "mini",
    clusters: Clusters = None,
    text: Text = "builtin",
    split: Split = "train",
    domains: Annotated[list[str] | None, typer.Option(help="domains; default all of the text")] = None,
    tokens: Annotated[int, typer.Option(help="tokens per domain")] = 10_000,
    examples: Annotated[int, typer.Option(help="examples kept per subcomponent")] = 1000,
    seed: Annotated[int, typer.Option(help="seed of the sample of examples")] = 0,
    batch_tokens: Annotated[int, typer.Option(help="positions in one forward")] = 2048,
    part_tokens: Annotated[
        int, typer.Option(min=1, help="tokens between two saves of the progress")
    ] = 200_000,
    shard: Annotated[
        str, typer.Option(help="count only shard I/N, from 0/N on; merge-harvest joins them")
    ] = "0/1",
    run: Annotated[Path | None, typer.Option(help="run directory (parts, progress); default OUT.run")] = None,
) -> None:
    """Gather what every subcomponent fires on and leads to, on labelled text; goes on after a kill.

    With --clusters, what every component does: it fires where any of its members does.
    """
    from rankone.clustering.components import Components
    from rankone.core.artifact import refuse_existing
    from rankone.harvest.config import HarvestConfig
    from rankone.harvest.counting.combine import combine
    from rankone.harvest.counting.parts import Shard
    from rankone.harvest.run import harvest as run_harvest
    from rankone.models.context import usual_context
    from rankone.text.opening import open_corpus
    from rankone.workspace import Workspace

    refuse_existing(out)
    own = Shard.parse(shard)
    corpus = open_corpus(text)
    target, tokenizer, loaded, _ = load_pair(model, decomposition, placed=True)
    config = HarvestConfig.checked(
        {
            "domains": tuple(domains or corpus.domains()),
            "split": split,
            "tokens": tokens,
            "context": usual_context(target),
            "examples": examples,
            "seed": seed,
            "batch_tokens": batch_tokens,
        },
        "harvest",
    )
    folder = run or run_dir(out)
    grouping = None if clusters is None else Components.open(clusters, loaded, target).grouping(loaded)
    workspace = Workspace(target, tokenizer, corpus, loaded)
    run_harvest(workspace, config, folder, own, part_tokens, grouping=grouping)
    if own.count > 1:
        console.print(
            f"shard {shard} is in {folder}; when all are: rankone merge-harvest {folder} --out {out}",
            markup=False,
        )
        return
    combine([folder], out)
    _print_harvest(out)


@commands.command(name="merge-harvest")
def merge_harvest(
    runs: Annotated[list[Path], typer.Argument(help="run directories that hold the shards")],
    out: Out,
) -> None:
    """Join the shards of a harvest; the result is that of one process."""
    from rankone.harvest.counting.combine import combine

    combine(runs, out)
    _print_harvest(out)


def _print_harvest(out: Path) -> None:
    from rankone.harvest.reading.store import HarvestStore

    store = HarvestStore.open(out)
    firing = store.config["config"]["firing"]
    found = store.table(
        f"SELECT domain, sum(above_{store.config['config']['thresholds'].index(firing)})::BIGINT AS firings, "
        "count(*) FILTER (WHERE mean_importance > 1e-6) AS alive, sum(mean_importance) AS mass "
        "FROM domains GROUP BY domain ORDER BY domain"
    ).to_pylist()
    rows = [
        [name, size, row["firings"] / size, row["mass"], row["alive"]]
        for (name, size), row in zip(store.tokens().items(), found, strict=True)
    ]
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    counted = "components" if store.clusters else "subcomponents"
    caption = (
        f"{len(store.components()):,} {counted}, {size / 1e6:,.1f} MB; firing: importance over {firing}; "
        "alive: mean importance over 1e-6"
    )
    print_table(
        Table.of(
            f"{out}: harvest",
            ["domain", "tokens", "firing per token", "importance per token", "alive"],
            rows,
            caption,
        )
    )
