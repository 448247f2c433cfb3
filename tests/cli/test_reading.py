"""rank, search, show and picks on a harvest of a tiny model, and what they say to bad input."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from tests.decomposition.tiny import elsewhere
from tests.tiny import rankone, write_pair

from rankone.core.artifact import open_artifact
from rankone.core.config import Config
from rankone.decomposition.model import load_decomposition, save_decomposition
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.combine import combine
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.run import harvest
from rankone.labels.label import STATISTICAL, Label
from rankone.labels.store import open_labels, save_labels
from rankone.models.loading import load_model, load_tokenizer
from rankone.workspace import Workspace

NAME = "h.0.mlp.down_proj:2"


@pytest.fixture(scope="module")
def world(tmp_path_factory, tokenizer, corpus):
    """Model, decomposition, harvest and labels on disk."""
    folder = tmp_path_factory.mktemp("reading")
    model, decomposition = write_pair(folder, tokenizer, len(tokenizer))
    target = load_model(model)
    loaded, _ = load_decomposition(decomposition, target)
    config = HarvestConfig(domains=("de", "en"), tokens=60, context=24, examples=4, window=3, seed=1)
    harvest(Workspace(target, tokenizer, corpus, loaded), config, folder / "run")
    combine([folder / "run"], folder / "harvest")
    fingerprint = open_artifact(folder / "harvest").fingerprint
    names = loaded.names()
    texts = [f"{'German' if i % 2 else 'English'} words [bold]{i}" for i in range(len(names))]
    labels = [Label(n, t, 0.5, STATISTICAL, "") for n, t in zip(names, texts, strict=True)]
    save_labels(folder / "labels", labels, fingerprint, Config())
    return folder


def read(world, *words):
    return rankone(*words, "--harvest", world / "harvest")


def labelled(world, *words):
    return read(world, *words, "--labels", world / "labels")


def pair(world):
    return world / "model", "--decomposition", world / "decomposition"


def shown(outcome):
    assert outcome.code == 0, outcome.err
    return outcome.out


def refused(outcome, *parts):
    assert outcome.code == 2, outcome.out
    assert outcome.err.startswith("rankone: ")
    for part in parts:
        assert part in outcome.err, outcome.err


def components(said):
    words = said.replace("│", " ").split()
    return [word for word in words if word.startswith("h.0.")]


def test_rank_reads_the_harvest_without_the_model(world):
    said = shown(labelled(world, "rank", "mini", "--of", "de", "--top", 4))
    found = HarvestStore.open(world / "harvest").importances()
    score = found.of("de") - found.of("en")
    top = sorted(range(len(score)), key=lambda i: -float(score[i]))
    assert {score[found.names.index(n)].item() for n in components(said)} == {
        score[i].item() for i in top[:4]
    }
    assert "words [bold]" in said
    assert said.index("label") < said.index("name")
    contrast = shown(read(world, "rank", "--of", "en", "--against", "de", "--top", 1))
    assert "More important on en than on de" in contrast
    (best,) = components(contrast)
    assert score[found.names.index(best)] == score.min()


def test_rank_by_gradient_and_unembedding(world):
    said = shown(rankone("rank", *pair(world), "--by", "gradient", "--of", "de", "--tokens", 40, "--top", 3))
    assert "Steepest in the cross-entropy of de" in said
    assert len(components(said)) == 3
    said = shown(rankone("rank", *pair(world), "--token", "der", "--top", 3))
    assert all(n.startswith(("h.0.attn.o_proj", "h.0.mlp.down_proj")) for n in components(said))


def test_rank_of_parts_of_another_origin(world):
    only = ["--only", "neuron/h.0.mlp.down_proj:*"]
    few = ["--tokens", 40]
    for by in (["--of", "de", *few], ["--of", "de", "--by", "gradient", *few], ["--token", "der"]):
        said = shown(rankone("rank", *pair(world), *by, *only, "--top", 3))
        assert len(re.findall(r"neuron/h\.0\.mlp\.down_proj:\d+", said)) == 3
        assert not components(said)
    harvest = ["--harvest", world / "harvest"]
    refused(rankone("rank", *pair(world), *harvest, "--of", "de", *only), "--only names the parts to rank")
    refused(
        rankone("rank", *pair(world), "--label", "x", *only), "a ranking by label is of what was harvested"
    )
    refused(rankone("rank", "--of", "de", "--only", "nueron/h.0.mlp.down_proj:*"), "Nearest: neuron")
    refused(rankone("edit", "neuron/h.0.mlp.down_proj:*=0"), "stands for many parts")


def test_rank_by_label(world):
    said = shown(labelled(world, "rank", "--label", "german", "--top", 2))
    assert "Labelled “german”" in said
    assert said.count("German words [bold]") == 2


def test_search(world):
    said = shown(labelled(world, "search", "German words", "--top", 3))
    assert said.count("German words [bold]") == 3
    assert "50" in said
    refused(labelled(world, "search", "xyzzy"), "nothing matches 'xyzzy'", "searched")
    refused(read(world, "search", "german"), "give --labels DIR")


def test_show_on_the_terminal(world):
    said = shown(labelled(world, "show", NAME))
    assert NAME in said
    assert "words [bold]" in said
    assert "Fire together with it" in said
    near = shown(read(world, "show", NAME, "--model", *pair(world)))
    assert "give --labels" in near
    assert any(words in near for words in ("Writes alike", "Reads alike", "Read what it writes"))


def test_show_writes_a_page_with_the_response(world, tmp_path):
    page = tmp_path / "page.html"
    words = ["--model", *pair(world), "--response", "--tokens", 20, "--html", page]
    said = shown(labelled(world, "show", NAME, *words))
    assert "page: " in said
    html = page.read_text("utf8")
    assert "<svg" in html
    assert "20 tokens of validation text" in html
    refused(labelled(world, "show", NAME, "--html", page), "already exists")


def test_show_says_what_feeds_a_part_and_whom_it_looks_with(world, tmp_path):
    words = ["--model", *pair(world), "--sources", 24]
    said = shown(read(world, "show", "h.0.attn.q_proj:0", *words))
    assert "What feeds h.0.attn.q_proj:0, by the frozen rule" in said
    assert "What feeds h.0.attn.q_proj:0, by the grad rule" in said
    heads, _, pairs = said.partition("In which heads")[2].partition("Who makes layer 0 look where")
    assert re.search(r"h\.0\.attn\.q_proj:0 +queries +\d \(\d+%\)", heads)
    assert "h.0.attn.q_proj:0" in pairs
    assert "h.0.attn.q_proj:1" not in pairs
    page = tmp_path / "page.html"
    assert "page: " in shown(read(world, "show", NAME, *words, "--html", page))
    html = page.read_text("utf8")
    assert f"What feeds {NAME}, by the grad rule" in html
    assert "Who makes layer" not in html
    assert "In which heads" not in html
    refused(read(world, "show", NAME, "--sources", 24), "give the --decomposition")


def test_picks(world, tmp_path):
    words = ["--targets", "de", "--tokens", 20, "--alphas=-2,3", "--candidates", 2]
    outcome = labelled(world, "picks", *pair(world), *words)
    # An untrained importance function need not find anything specific: then that is what is said.
    if outcome.code:
        refused(outcome, "specific to 'de'")
    else:
        assert "are the best of their 2 most specific" in " ".join(outcome.out.split())


def test_unknown_names_are_answered_with_near_ones(world):
    refused(
        read(world, "show", "h.0.mlp.down_prj:2"),
        "'h.0.mlp.down_prj:2' is not in the harvest",
        "Nearest: h.0.mlp.down_proj",
    )
    refused(read(world, "rank", "--of", "dk"), "no importances for 'dk'", "de, en")
    refused(labelled(world, "rank", "--label", "dutch"), "no label holds 'dutch'")
    refused(read(world, "rank", "--of", "de", "--by", "speed"), "unknown criterion 'speed'")
    refused(rankone("rank", *pair(world), "--of", "de", "--against", "en,de"), "rank: 'de' is on both sides")
    refused(rankone("rank", *pair(world), "--token", "Donaudampfschiff"), "no token 'Donaudampfschiff'")


def test_what_is_needed_is_said(world):
    refused(rankone("show", NAME), "give --harvest DIR")
    refused(read(world, "show", NAME, "--response"), "give the --decomposition")
    refused(read(world, "rank", "--label", "german"), "give --labels DIR")


def test_a_harvest_of_another_decomposition_is_refused(world, tmp_path):
    model = load_model(world / "model")
    changed, _ = load_decomposition(world / "decomposition", model)
    changed.factors("h.0.mlp.c_fc")[0].mul_(2)
    save_decomposition(changed, model, tmp_path / "other", {}, None)
    words = world / "model", "--decomposition", tmp_path / "other"
    message = "was made from another decomposition"
    refused(read(world, "show", NAME, "--model", *words), message)
    refused(read(world, "rank", "--of", "de", *words), message)
    refused(labelled(world, "picks", *words), message)


def test_a_harvest_of_another_model_is_refused(world, tmp_path):
    """Its decomposed matrices are the same, so the decomposition is taken; what fires is not."""
    elsewhere(load_model(world / "model")).save_pretrained(tmp_path / "model")
    load_tokenizer(world / "model").save_pretrained(tmp_path / "model")
    words = tmp_path / "model", "--decomposition", world / "decomposition"
    message = "was made from another model"
    refused(read(world, "show", NAME, "--model", *words), message)
    refused(read(world, "rank", "--of", "de", *words), message)
    refused(labelled(world, "picks", *words), message)
    refused(read(world, "investigate", NAME, "--model", *words), message)


def test_labels_of_another_harvest_are_refused(world, tmp_path):
    save_labels(tmp_path / "labels", [Label(NAME, "x", 0.5, STATISTICAL, "")], "0" * 64, Config())
    outcome = read(world, "search", "x", "--labels", tmp_path / "labels")
    refused(outcome, "were made from another harvest")


def test_a_damaged_harvest_is_refused(world, tmp_path):
    shutil.copytree(world / "harvest", tmp_path / "harvest")
    (tmp_path / "harvest" / "rows.parquet").write_bytes(b"x")
    refused(rankone("show", NAME, "--harvest", tmp_path / "harvest"), "altered or truncated")


def test_a_scale_for_every_part_with_a_label(world, tmp_path):
    """`edit` and `tune` take label:WORDS as they take a component: for each of its parts."""
    names = [n for i, n in enumerate(open_labels(world / "labels").names()) if i % 2]
    words = ["--model", world / "model", "--decomposition", world / "decomposition", "--tokens", 20]
    out = shown(labelled(world, "edit", "label:german=0", *words, "--out", tmp_path / "edit", "--json"))
    assert json.loads(out)["parts"] == {"label:german": len(names)}
    by_hand = shown(rankone("edit", *(f"{n}=0" for n in names), *words, "--json"))
    assert json.loads(by_hand)["domains"] == json.loads(out)["domains"]
    assert f"{len(names)}" in shown(labelled(world, "edit", "label:german=0", *words))
    fit = ["--forget", "de", "--retain", "en", "--budget", 4, "--tokens", 20]
    out = shown(labelled(world, "tune", world / "model", "--scale", "label:german", *words[2:4], *fit))
    assert "label:german" in out
    refused(labelled(world, "edit", "label:dutch=0", *words), "no label holds 'dutch'")
    refused(labelled(world, "edit", "label:german=0", f"{names[0]}=2", *words), "is given twice")
