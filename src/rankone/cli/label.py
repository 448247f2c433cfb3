"""Commands that name what subcomponents do: label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankone.cli.common import Out, run_dir
from rankone.core.errors import RankOneError
from rankone.render.tables import Table
from rankone.render.terminal import print_table
from rankone.runtime.progress import console

if TYPE_CHECKING:
    from rankone.harvest.reading.store import HarvestStore
    from rankone.labels.model.client import ChatClient
    from rankone.labels.run import Outcome

commands = typer.Typer()


@commands.command()
def label(
    harvest: Annotated[Path, typer.Argument(help="harvest to label")],
    out: Out,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url", help="OpenAI-compatible server, as http://localhost:8000/v1; key: RANKONE_API_KEY"
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="the server's model")] = None,
    limit: Annotated[int | None, typer.Option(help="labels by the model, most frequent first")] = None,
    score: Annotated[bool, typer.Option("--score", help="also score the labels")] = False,
    judged: Annotated[int, typer.Option(help="labels the model judges, with --score")] = 50,
    held_out: Annotated[Path | None, typer.Option(help="harvest of other text to score on")] = None,
    price_in: Annotated[float, typer.Option(help="per million tokens in")] = 0.0,
    price_out: Annotated[float, typer.Option(help="per million tokens out")] = 0.0,
    max_tokens: Annotated[int | None, typer.Option(help="stop before this many tokens in all")] = None,
    max_cost: Annotated[float | None, typer.Option(help="stop before this cost")] = None,
    reply_tokens: Annotated[int, typer.Option(help="cap of one reply; more for reasoning models")] = 1000,
    concurrency: Annotated[int, typer.Option(help="requests at once")] = 8,
    timeout: Annotated[float, typer.Option(help="seconds per request")] = 120.0,
    estimate: Annotated[bool, typer.Option("--estimate", help="print what it would take and stop")] = False,
    run: Annotated[Path | None, typer.Option(help="run directory (replies); default OUT.run")] = None,
) -> None:
    """Label every subcomponent of a harvest: by statistics, and by a language model if a server is given."""
    from contextlib import nullcontext

    from rankone.labels.model.budget import Caps
    from rankone.labels.model.server import Server, read_key
    from rankone.labels.run import LabelSettings, label_harvest, open_client

    if (base_url is None) != (model is None):
        raise RankOneError("--base-url and --model belong together: give both, or neither.")
    if estimate and base_url is None:
        raise RankOneError("--estimate is about a server: give --base-url and --model.")
    if limit is not None and base_url is None:
        raise RankOneError("--limit is about a server's labels: give --base-url and --model.")
    if held_out is not None and not score:
        raise RankOneError("--held-out is text to score on: give --score too.")
    if max_cost is not None and not (price_in or price_out):
        raise RankOneError("--max-cost needs prices: give --price-in and --price-out.")
    client: ChatClient | None = None
    if base_url is not None:
        asked = {"base_url": base_url, "model": model, "timeout": timeout}
        server = Server.checked({**asked, "concurrency": concurrency, "reply_tokens": reply_tokens}, "label")
        limits = {
            "price_in": price_in,
            "price_out": price_out,
            "max_tokens": max_tokens,
            "max_cost": max_cost,
        }
        caps = Caps.checked(limits, "label")
        client = open_client(server, read_key(base_url), caps, run or run_dir(out))
    with client or nullcontext():
        if client is not None and not estimate:
            client.require_server()
        pages = _open(harvest)
        tested = _open_held_out(held_out, pages) if held_out is not None else None
        wanted = {
            "limit": limit,
            "score": score,
            "judged": judged,
            "threshold": pages.config["config"]["firing"],
        }
        settings = LabelSettings.checked(wanted, "label")
        made = label_harvest(pages, pages.artifact.fingerprint, out, settings, client, tested, estimate)
    if not estimate:
        _print_labels(made, out)


def _open(path: Path) -> HarvestStore:
    from rankone.harvest.reading.store import HarvestStore

    return HarvestStore.open(path)


def _open_held_out(path: Path, harvest: HarvestStore) -> HarvestStore:
    from rankone.harvest.origin import same_origin

    found = _open(path)
    if not same_origin(found.config, harvest.config):
        raise RankOneError(
            f"the held-out harvest '{path}' is of another decomposition or model; make it with the same ones."
        )
    if found.artifact.fingerprint == harvest.artifact.fingerprint:
        raise RankOneError(
            f"the held-out harvest '{path}' is the one that is labelled; make one of other text."
        )
    return found


def _print_labels(made: Outcome, out: Path, rows: int = 20) -> None:
    """The most frequent subcomponents with their labels, and what was not labelled by the model."""
    shown = []
    for name in made.by_firings()[:rows]:
        best = made.best(name)
        scores = {**made.statistical[name].scores, **best.scores}
        shown.append([best.label, name, best.confidence, scores.get("firing_auc"), best.source])
    caption = f"{len(made.statistical)} labels by statistics, {len(made.model)} by the model"
    if made.capped or made.unanswered:
        caption += f"; {made.capped} requests not sent at the cap, {made.unanswered} failed"
    columns = ["label", "component", "confidence", "AUC of counts", "by"]
    print_table(Table.of(f"{out}: the most frequent subcomponents", columns, shown, caption))
    if made.capped:
        console.print(
            "To go on, raise the cap, give another --out and, as --run, this run's directory.", markup=False
        )
