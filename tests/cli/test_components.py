"""Components wherever a subcomponent is: harvest, label, rank, search, show and investigate on a tiny model."""

from __future__ import annotations

import pytest
from tests.cli.test_reading import refused, shown
from tests.helpers import workspace
from tests.tiny import RECIPE, rankone, write_pair

import rankone as ro
from rankone.clustering.components import Components
from rankone.decomposition.model import load_decomposition
from rankone.edits.gradients import scale_gradients
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.store import open_labels
from rankone.models.context import usual_context
from rankone.models.loading import load_model
from rankone.render.values import formatted
from rankone.text.blocks import passage_blocks
from rankone.text.opening import open_corpus

DOMAINS = ["--domains", "de", "--domains", "en"]


@pytest.fixture(scope="module")
def world(tmp_path_factory, tokenizer):
    """Model, decomposition, clusters, harvests of subcomponents (`plain`) and of components (`harvest`), labels."""
    folder = tmp_path_factory.mktemp("components")
    model, decomposition = write_pair(folder, tokenizer, len(tokenizer))
    pair = [decomposition, "--model", model]
    made = [
        ["cluster", *pair, *DOMAINS, "--tokens", 300, "--rank-penalty", 2, "--out", folder / "clusters"],
        ["harvest", *pair, *DOMAINS, "--tokens", 60, "--out", folder / "plain"],
        ["harvest", *pair, *DOMAINS, "--tokens", 60, "--clusters", folder / "clusters", "--out", folder / "harvest"],
        ["label", folder / "harvest", "--out", folder / "labels"],
    ]  # fmt: skip
    said = [shown(rankone(*words)) for words in made]
    assert "components," in said[2]
    assert "subcomponents," in said[1]
    return folder


def pair(world):
    return "--model", world / "model", "--decomposition", world / "decomposition"


def read(world, *words, harvest="harvest"):
    return rankone(*words, "--harvest", world / harvest)


def names(said):
    return [w for line in said.splitlines() for w in line.replace("│", " ").split()[:1] if w[1:].isdecimal()]


@pytest.fixture(scope="module")
def several(world):
    """A component of two members or more that fires."""
    store = HarvestStore.open(world / "harvest")
    return next(n for n in store.names() if len(store.members(n)) > 1 and store.page(n).examples)


def test_rank_without_and_with_a_harvest(world):
    words = ["rank", world / "model", "--decomposition", world / "decomposition", *DOMAINS, "--of", "de"]
    own = ["--clusters", world / "clusters", "--top", 5]
    counted = shown(rankone(*words, *own, "--tokens", 60))
    assert len(names(counted)) == 5
    best = next(line for line in counted.splitlines() if names(line))
    members = Components.open(world / "clusters").members(names(counted)[0])
    assert best.rstrip("│ ").endswith(f" {len(members)}")
    stored = shown(read(world, *words, "--top", 5))
    assert stored == shown(read(world, *words, *own))
    # The harvest and the count read the same text here.
    assert set(names(counted)) == set(names(stored))


def test_rank_by_gradient_adds_up_the_members(world):
    words = [
        "rank",
        world / "model",
        "--decomposition",
        world / "decomposition",
        "--by",
        "gradient",
        "--of",
        "de",
    ]
    said = shown(rankone(*words, "--clusters", world / "clusters", "--tokens", 40, "--top", 1))
    (best,) = names(said)
    model = load_model(world / "model")
    decomposition, _ = load_decomposition(world / "decomposition", model)
    clusters = Components.open(world / "clusters")
    from rankone.models.loading import load_tokenizer

    rows = open_corpus("builtin").documents("de", "train", 320)
    text = passage_blocks(load_tokenizer(world / "model"), rows, usual_context(model)).take(40)
    each = dict(
        zip(
            decomposition.names(),
            scale_gradients(workspace(model, decomposition), text).tolist(),
            strict=True,
        )
    )
    sums = {n: sum(each[m] for m in clusters.members(n)) for n in clusters.names()}
    assert best == max(sums, key=lambda n: abs(sums[n]))
    assert formatted(float(f"{sums[best]:.3g}")) in said
    assert said == shown(read(world, *words, "--tokens", 40, "--top", 1))


def test_rank_by_unembedding_names_the_member(world):
    words = [
        "rank",
        world / "model",
        "--decomposition",
        world / "decomposition",
        "--token",
        "der",
        "--by",
        "unembedding",
    ]
    said = shown(rankone(*words, "--clusters", world / "clusters", "--top", 2))
    assert "h.0." in said
    assert len(names(said)) == 2


def test_show_a_component(world, several, tmp_path):
    members = HarvestStore.open(world / "harvest").members(several)
    said = shown(read(world, "show", several, "--labels", world / "labels", "--clusters", world / "clusters"))
    assert f"Its {len(members)} members" in said
    assert all(m in said for m in members[:12])
    assert "bits saved" in said
    page = tmp_path / "page.html"
    words = [*pair(world), "--response", "--tokens", 20, "--html", page]
    shown(read(world, "show", several, *words))
    html = page.read_text("utf8")
    assert 'id="members-table"' in html
    assert all(m in html for m in members)
    assert "Lines of cross-entropy by domain as α moves" in html


def test_neighbours_by_direction_are_components(world, several):
    said = shown(read(world, "show", several, *pair(world)))
    after = said[said.index("Fire together with it") :]
    assert any(words in after for words in ("Writes alike", "Reads alike", "Alike as a matrix"))
    assert "h.0." not in after
    assert several not in after.split()


def test_show_a_subcomponent_with_its_component(world, several):
    member = Components.open(world / "clusters").members(several)[0]
    said = shown(read(world, "show", member, "--clusters", world / "clusters", harvest="plain"))
    assert f"member of {several}, " in said


def test_search_and_investigate(world, several):
    word = open_labels(world / "labels").best(several).label.split()[0].strip(",:")
    said = shown(read(world, "search", word, "--labels", world / "labels"))
    assert several in said.replace("│", " ").split()
    words = ["--tokens", 40, "--alphas", -3, "--labels", world / "labels", *pair(world)]
    said = shown(read(world, "investigate", several, *words))
    assert several in said
    assert "α = −3" in said


def test_names_are_those_of_the_harvest(world, several):
    member = Components.open(world / "clusters").members(several)[0]
    for verb in ("show", "investigate"):
        own = [] if verb == "show" else [*pair(world)]
        refused(
            read(world, verb, member, *own), f"counts components, and '{member}' is a member of {several}"
        )
        refused(read(world, verb, "c9999", *own), "'c9999' is not in the harvest", "Nearest: c")
        refused(
            read(world, verb, several, *own, harvest="plain"),
            "counts subcomponents",
            "harvest --clusters DIR",
        )


def test_a_session_with_a_harvest_of_subcomponents_scales_components(world, several):
    """A harvest has no part in it, whatever it counts."""
    opened = {name: str(world / name) for name in ("decomposition", "clusters")}
    scaled = [
        ro.open(str(world / "model"), **opened, **harvest).edit(f"{several}=0", tokens=60)
        for harvest in ({}, {"harvest": str(world / "plain")})
    ]
    assert scaled[0].domains == scaled[1].domains


def test_what_does_not_fit_is_refused(world, several, tokenizer, tmp_path, monkeypatch):
    clusters = ["--clusters", world / "clusters"]
    refused(
        read(world, "rank", "--of", "de", *clusters, harvest="plain"),
        "counts subcomponents",
        "rankone harvest --clusters",
    )
    refused(read(world, "show", several, *clusters, harvest="plain"), "counts subcomponents")
    other = tmp_path / "other"
    words = [
        "cluster",
        world / "decomposition",
        "--model",
        world / "model",
        *DOMAINS,
        "--tokens",
        300,
        "--seed",
        3,
    ]
    shown(rankone(*words, "--out", other))
    refused(
        read(world, "rank", "--of", "de", "--clusters", other), "counts the components of another clustering"
    )
    monkeypatch.setitem(RECIPE, "seed", 1)
    model, decomposition = write_pair(tmp_path, tokenizer, len(tokenizer))
    message = "was made from another decomposition"
    words = ["--model", model, "--out", tmp_path / "h", *DOMAINS, *clusters]
    refused(rankone("harvest", decomposition, *words), message)
    refused(
        rankone("rank", "--of", "de", model, "--decomposition", decomposition, *DOMAINS, *clusters), message
    )
