"""Every verb that takes parts, on parts of every origin: ranked, harvested, labelled, shown, scaled, fitted and the rest."""

from __future__ import annotations

import math

import pytest
from tests.tiny import write_pair
from tests.windows.rules import portable

import rankone as ro
from rankone.models.sites import find_sites
from rankone.parts.moments import collect_moments
from rankone.parts.sources import make_parts
from rankone.parts.storage import save_parts

SITE, HEADS = "h.0.mlp.down_proj", "h.0.attn.o_proj"
PARTS = {
    "subcomponent": f"{SITE}:3",
    "neuron": f"neuron/{SITE}:3",
    "channel": f"channel/{HEADS}:3",
    "singular": f"singular/{SITE}:1",
    "random": f"random/{SITE}:1",
    "contrast": f"contrast-de/{SITE}:0",
    "sharpened": f"sharpened-neuron-de/{SITE}:3",
}


@pytest.fixture(scope="module")
def world(tokenizer, tmp_path_factory):
    """A folder, a session with a decomposition and saved parts (contrast and sharpened), and the harvests made so far."""
    folder = tmp_path_factory.mktemp("origins")
    model, decomposition = write_pair(folder, tokenizer, len(tokenizer))
    bare = ro.open(model, decomposition=decomposition)
    sites, text = find_sites(bare.model, [SITE]), bare.bare.text(["de", "en"], "train", 200)
    de, en = (collect_moments(bare.model, sites, b.ids, b.present) for b in text.values())
    bare.sharpen(f"neuron/{SITE}:3", of="de", against="en", tokens=100, out=folder / "sharpened")
    (sharpened,) = ro.open(model, parts=folder / "sharpened").book.joined([])._sets.values()
    save_parts(
        [make_parts("contrast", sites, "de", de, en, count=2), sharpened], bare.model, folder / "parts"
    )
    return folder, ro.open(model, decomposition=decomposition, parts=folder / "parts"), {}


def harvested(world, name):
    """The session of a harvest of one part, made once."""
    folder, s, made = world
    if name not in made:
        out = folder / f"harvest-{len(made)}"
        s.harvest(only=name, domains=["de", "en"], tokens=60, examples=4, out=out)
        made[name] = out
    return ro.open(s.options.model, harvest=made[name])


def ranked(world, name, _):
    (row,) = world[1].rank(of="de", against="en", only=name, tokens=40).rows
    assert row.name == name


def counted(world, name, _):
    assert harvested(world, name).harvest_store.names() == [name]


def labelled(world, name, tmp_path):
    harvest = harvested(world, name).options.harvest
    labels = world[1].label(harvest, out=tmp_path / "labels")
    assert labels is not None
    assert ro.open(harvest=harvest, labels=tmp_path / "labels").labels.names() == [name]


def shown(world, name, _):
    assert harvested(world, name).show(name, response=True, tokens=20).name == name


def investigated(world, name, _):
    found = harvested(world, name).investigate(name, tokens=30, alphas=[-1.0])
    assert {row.domain for row in found.findings} == {"de", "en"}


def scaled(world, name, _):
    edit = world[1].scale({name: -2.0})
    assert math.isfinite(world[1].damage(edit, tokens=20)["de"].rise)


def fitted(world, name, _):
    fit = world[1].fit([name], forget="de", retain=["en"], budget=4, retain_tokens=40)
    assert fit.edit.sites == (name.rpartition("/")[2].partition(":")[0],)


def sharpened(world, name, tmp_path):
    (row,) = world[1].sharpen(name, of="de", against="en", tokens=60, out=tmp_path / "sharp").parts
    origin, _, place = name.rpartition("/")
    assert row.name == "-".join(filter(None, ("sharpened", origin, "de"))) + f"/{place}"


def drawn(world, name, tmp_path):
    s, origin = world[1], name.rpartition("/")[0]
    s.graph(
        "the cat",
        source=origin or None,
        nodes="strongest",
        per_site=2,
        removed=2,
        random_graphs=1,
        precision="float32",
        out=tmp_path / "graph",
    )
    again = s.graph_verify(tmp_path / "graph", removed=2)
    assert again.graph == tmp_path / "graph"


def exported(world, name, tmp_path):
    world[1].edit({name: 0.0}, out=tmp_path / "edit")
    assert world[1].export(tmp_path / "edit", as_="adapter", out=tmp_path / "out").out == tmp_path / "out"


VERBS = (ranked, counted, labelled, shown, investigated, scaled, fitted, sharpened, drawn, exported)


@pytest.mark.usefixtures("here")
def test_what_is_written_has_names_that_windows_takes(world, tmp_path):
    """A part's name has `:` and `/`; no file is called by one."""
    counted(world, PARTS["contrast"], tmp_path)
    exported(world, PARTS["neuron"], tmp_path)
    drawn(world, PARTS["subcomponent"], tmp_path)
    names = {path.name for folder in (world[0], tmp_path) for path in folder.rglob("*")}
    assert len(names) > 20
    assert [name for name in names if not portable(name)] == []


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("origin", PARTS)
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_a_verb_takes_parts_of_every_origin(world, verb, origin, tmp_path):
    verb(world, PARTS[origin], tmp_path)
