"""Commands that read what subcomponents do: rank, search, show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankone.cli.common import Clusters, Text, listed, load_pair
from rankone.core.errors import RankOneError
from rankone.render.tables import Table
from rankone.render.terminal import print_table
from rankone.runtime.progress import console

if TYPE_CHECKING:
    from rankone.clustering.components import Component, Components
    from rankone.harvest.reading.store import HarvestStore
    from rankone.labels.store import Labels
    from rankone.workspace import Workspace

commands = typer.Typer()

Harvest = Annotated[Path | None, typer.Option("--harvest", help="read this harvest")]
LabelsPath = Annotated[Path | None, typer.Option("--labels", help="labels of that harvest")]
Decomposed = Annotated[
    str | None, typer.Option("--decomposition", help="decomposition of the model, as mini-decomposition")
]
DEFAULT = "mini-decomposition"


@commands.command()
def rank(
    model: Annotated[str, typer.Argument(help="model")] = "mini",
    decomposition: Decomposed = None,
    of: Annotated[str | None, typer.Option("--of", help="domains, comma-separated")] = None,
    against: Annotated[str | None, typer.Option(help="domains to compare with, comma-separated")] = None,
    token: Annotated[str | None, typer.Option(help="a word that is one token: who leads to it")] = None,
    label: Annotated[str | None, typer.Option(help="words of a label")] = None,
    by: Annotated[
        str | None, typer.Option(help="specificity, contrast, gradient, token, unembedding or label")
    ] = None,
    penalty: Annotated[
        float | None, typer.Option(help="weight of --against in a gradient; default 1")
    ] = None,
    harvest: Harvest = None,
    labels: LabelsPath = None,
    clusters: Clusters = None,
    text: Text = "builtin",
    domains: Annotated[
        list[str] | None, typer.Option(help="domains to compare; default all of the text")
    ] = None,
    tokens: Annotated[int, typer.Option(help="training tokens per domain, without a harvest")] = 3000,
    top: Annotated[int, typer.Option(min=1, help="rows to show")] = 20,
) -> None:
    """Rank subcomponents: by domains, gradient, output token or label; in no time where a harvest holds the counts.

    With --clusters, or a harvest of components, it ranks those.
    """
    from rankone.edits.ranking import Asked, Sources
    from rankone.edits.ranking import rank as make

    groups = listed(of), listed(against)
    if not groups[0] and token is None and label is None:
        groups = ("de",), groups[1]
    asked = Asked(*groups, token, label, penalty)
    store, found = _open(harvest, labels)
    components = _open_clusters(clusters, store)
    opened = _workspace(model, decomposition, text, store, components)
    if store is not None and decomposition is not None:
        opened()
    named = [*groups[0], *groups[1]]
    compared = list(dict.fromkeys([*named, *(domains or _domains(store, text))]))
    sources = Sources(opened, compared, tokens, store, found, components)
    ranking = make(asked, sources, by)
    clustering = store if store is not None and store.clusters else components
    rows = []
    for i in ranking.order(top):
        name = ranking.names[i]
        row: list[object] = [name, float(ranking.values[i]), *(c[i] for c in ranking.columns.values())]
        if clustering is not None:
            row.append(len(clustering.members(name)))
        if found is not None:
            row.insert(0, found.best(name).label if name in found.by_component else "")
        rows.append(row)
    # The first column may wrap: labels are long, names must stay whole.
    columns = ["label"] * (found is not None) + ["component", ranking.score, *ranking.columns]
    columns += ["members"] * (clustering is not None)
    print_table(Table.of(ranking.title, columns, rows, ranking.note))


@commands.command()
def search(
    query: Annotated[str, typer.Argument(help="words of a label, tokens, names of domains")],
    harvest: Harvest = None,
    labels: LabelsPath = None,
    top: Annotated[int, typer.Option(min=1, help="rows to show")] = 20,
) -> None:
    """Find subcomponents by label, token or domain."""
    from rankone.labels.search import search as find
    from rankone.render.bars import level

    store, found = _open(harvest, labels)
    if store is None or found is None:
        raise RankOneError("a search reads a harvest and its labels: give --harvest DIR and --labels DIR.")
    rows = []
    for hit in find(store, found, query, top):
        largest = max(hit.densities.values())
        bars = [level(value, largest) for value in hit.densities.values()]
        places = ", ".join(dict.fromkeys(hit.found.values()))
        rows.append(
            [hit.label.label, hit.component, hit.label.confidence, f"{hit.density:.2%}", *bars, places]
        )
    columns = ["label", "component", "confidence", "density", *store.domains(), "found in"]
    print_table(
        Table.of(
            f"“{query}”", columns, rows, "bars: firing density by domain, against the largest of the row"
        )
    )


@commands.command()
def show(
    component: Annotated[str, typer.Argument(help="SITE:NUMBER, or cNUMBER in a harvest of components")],
    harvest: Harvest = None,
    labels: LabelsPath = None,
    clusters: Clusters = None,
    model: Annotated[str, typer.Option(help="model")] = "mini",
    decomposition: Decomposed = None,
    response: Annotated[
        bool, typer.Option("--response", help="also measure CE by α (takes forwards)")
    ] = False,
    text: Text = "builtin",
    tokens: Annotated[int, typer.Option(help="validation tokens per domain, with --response")] = 1000,
    examples: Annotated[int, typer.Option(min=0, help="examples to show")] = 12,
    html: Annotated[
        Path | None, typer.Option("--html", help="write a page to this file; must not exist")
    ] = None,
) -> None:
    """Show all that is known of one subcomponent or component; --decomposition adds its neighbours by direction."""
    from dataclasses import replace

    from rankone.core.artifact import refuse_existing
    from rankone.experiments.response import ALPHAS
    from rankone.show.portrait import portrait, respond
    from rankone.show.terminal import print_portrait
    from rankone.show.web import write_portrait

    if html is not None:
        refuse_existing(html)
    store, found = _open(harvest, labels)
    if store is None:
        raise RankOneError("a page is read from a harvest: give --harvest DIR (made by `rankone harvest`).")
    cluster, members = _cluster_of(component, store, clusters), store.members(component)
    if response and decomposition is None:
        raise RankOneError("--response edits the model: give the --decomposition of this harvest.")
    if decomposition is None:
        shown = portrait(store, component, found, cluster=cluster)
    else:
        workspace = _workspace(model, decomposition, text, store)()
        width = int(workspace.model.config.get_text_config().hidden_size)
        shown = portrait(store, component, found, workspace.decomposition, width, cluster=cluster)
        if response:
            measured = respond(workspace, members, ALPHAS, store.domains(), tokens)
            shown = replace(shown, response=measured)
    if html is None:
        print_portrait(shown, console, examples)
    else:
        write_portrait(shown, html, examples)
        console.print(f"page: {html}", markup=False)


def _open(harvest: Path | None, labels: Path | None) -> tuple[HarvestStore | None, Labels | None]:
    """The harvest and the labels that were named; labels of another harvest are refused."""
    from rankone.harvest.reading.store import HarvestStore
    from rankone.labels.store import open_labels

    store = None if harvest is None else HarvestStore.open(harvest)
    if labels is None:
        return store, None
    return store, open_labels(labels, None if store is None else store.artifact.fingerprint)


def _cluster_of(name: str, store: HarvestStore, path: Path | None) -> Component | None:
    """The component that is named, or that a subcomponent belongs to, in the clustering at `path`."""
    from rankone.clustering.components import Components

    if path is None:
        return None
    if ":" not in name:
        found = _open_clusters(path, store)
        assert found is not None
        return found.component(name)
    found = Components.open(path)
    owner = found.owner(name)
    return None if owner is None else found.component(owner)


def _open_clusters(path: Path | None, store: HarvestStore | None) -> Components | None:
    """The clustering that was named; a harvest that does not count its components is refused."""
    from rankone.clustering.components import Components

    if path is None:
        return None
    found = Components.open(path)
    if store is not None:
        found.require_same(store.clusters, store.artifact.path)
    return found


def _domains(store: HarvestStore | None, text: str) -> list[str]:
    from rankone.text.opening import open_corpus

    return open_corpus(text).domains() if store is None else store.domains()


def _workspace(
    model: str,
    decomposition: str | None,
    text: str,
    store: HarvestStore | None,
    components: Components | None = None,
) -> Callable[[], Workspace]:
    """Opens model, decomposition and text once, when first called; counts and clusters of another are refused."""
    from functools import cache

    from rankone.text.opening import open_corpus
    from rankone.workspace import Workspace

    @cache
    def opened() -> Workspace:
        corpus = open_corpus(text)
        target, tokenizer, loaded, _ = load_pair(model, decomposition or DEFAULT)
        if store is not None:
            store.require_origin(loaded, target)
        if components is not None:
            components.require_origin(loaded, target)
        return Workspace(target, tokenizer, corpus, loaded)

    return opened
