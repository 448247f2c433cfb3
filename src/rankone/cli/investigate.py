"""Commands that explain an edit before it is made: investigate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankone.cli.common import DecompositionPath, Split, Text, load_pair
from rankone.runtime.progress import console

commands = typer.Typer()


@commands.command()
def investigate(
    component: Annotated[str, typer.Argument(help="SITE:NUMBER, or cNUMBER in a harvest of components")],
    harvest: Annotated[
        Path, typer.Option("--harvest", help="harvest of the decomposition, or of its components")
    ],
    labels: Annotated[Path | None, typer.Option("--labels", help="labels of that harvest")] = None,
    model: Annotated[str, typer.Option(help="model")] = "mini",
    decomposition: DecompositionPath = "mini-decomposition",
    text: Text = "builtin",
    split: Split = "validation",
    domains: Annotated[
        list[str] | None, typer.Option(help="domains to look at; default all of the harvest")
    ] = None,
    alpha: Annotated[list[float] | None, typer.Option(help="scales to try; default 0, −1 and −8")] = None,
    tokens: Annotated[int, typer.Option(help="tokens per domain")] = 1000,
    contexts: Annotated[int, typer.Option(help="worst contexts shown per domain")] = 5,
    html: Annotated[
        Path | None, typer.Option("--html", help="also write a page to this file; must not exist")
    ] = None,
) -> None:
    """Which other text suffers when a subcomponent (or component) is turned, and why? Measured on held-out text."""
    from rankone.core.artifact import refuse_existing
    from rankone.experiments.investigation.study import StudyConfig
    from rankone.experiments.investigation.study import investigate as study
    from rankone.experiments.investigation.terminal import print_investigation
    from rankone.experiments.investigation.web import write_investigation
    from rankone.harvest.reading.store import HarvestStore
    from rankone.labels.store import open_labels
    from rankone.text.corpus import require_split
    from rankone.text.opening import open_corpus
    from rankone.workspace import Workspace

    if html is not None:
        refuse_existing(html)
    require_split(split)
    asked = {"tokens": tokens, "split": split, "contexts": contexts, "domains": domains, "alphas": alpha}
    config = StudyConfig.checked({k: v for k, v in asked.items() if v is not None}, "investigate")
    target, tokenizer, loaded, _ = load_pair(model, decomposition)
    store = HarvestStore.open(harvest, loaded, target)
    store.number(component)
    named = open_labels(labels, store.artifact.fingerprint) if labels is not None else None
    own = named.by_component.get(component, []) if named is not None else []
    workspace = Workspace(target, tokenizer, open_corpus(text), loaded)
    found = study(workspace, store, component, config, own)
    print_investigation(found)
    if html is not None:
        write_investigation(found, html)
        console.print(f"page: {html}", markup=False)
