"""Components in place of subcomponents: by hand, and a whole harvest of them against dense tensors."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import decomposed, target
from tests.harvest.test_harvest import CONFIG, DOMAINS, Dense, World, world

from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.decomposition.model import DecomposedModel
from rankone.harvest.counting.combine import combine
from rankone.harvest.counting.firings import Firings
from rankone.harvest.counting.grouping import Grouping
from rankone.harvest.counting.plan import batches
from rankone.harvest.counting.shard import Shard
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.reading.summary import mean_importances
from rankone.text.blocks import Blocks

__all__ = ["world"]


def grouping(columns, count):
    names = [f"c{i}" for i in range(count)]
    members = [[f"s:{j}" for j, c in enumerate(columns) if c == i] for i in range(count)]
    return Grouping(names, members, torch.tensor(columns), "f")


def test_sizes_of_components_at_one_site_alone():
    sizes = grouping([0, -1, 0], 1).sizes([torch.tensor([[3.0, 9.0, 4.0], [0.0, 1.0, 2.0]])])
    assert sizes.tolist() == [[5.0], [2.0]]


BY_HAND = grouping([1, 0, -1, 1], 2)


def test_a_component_fires_where_any_member_does():
    found = Firings(
        torch.tensor([3, 3, 3, 5, 6]),
        torch.tensor([0, 0, 0, 1, 2]),
        torch.tensor([0, 1, 3, 2, 3]),
        torch.tensor([0.2, 0.5, 0.7, 0.9, 0.1]),
    )
    own = BY_HAND.joined(found)
    assert own.cell.tolist() == [3, 3, 6]
    assert own.position.tolist() == [0, 0, 2]
    assert own.part.tolist() == [0, 1, 1]
    assert own.importance.tolist() == pytest.approx([0.5, 0.7, 0.1])


def test_sums_sizes_and_largest():
    assert BY_HAND.summed(torch.tensor([1.0, 10.0, 100.0, 2.0])).tolist() == [10, 3]
    value, which = BY_HAND.largest(torch.tensor([torch.nan, -1.0, 9.0, 2.0]))
    assert value.tolist() == [-1, 2]
    assert which.tolist() == [1, 3]
    sizes = BY_HAND.sizes([torch.tensor([[3.0, -2.0]]), torch.tensor([[7.0, -4.0]])])
    assert sizes.tolist() == [[2, 5]]


def test_members_become_columns():
    decomposition = decomposed(target())
    names = decomposition.names()
    found = Grouping.of({"c0": [names[5], names[0]], "c1": [names[2]]}, decomposition, "f")
    assert found.columns[[0, 2, 5, 1]].tolist() == [0, 1, 0, -1]
    with pytest.raises(RankOneError, match=r"unknown subcomponent 'h\.0\.mlp\.c_fc:999'"):
        Grouping.of({"c0": ["h.0.mlp.c_fc:999"]}, decomposition, "f")


@pytest.fixture(scope="module")
def grouped(world: World):
    """Every third subcomponent in one of 20 components, the last 15 in none."""
    columns = torch.arange(world.decomposition.total) * 7 % 20
    columns[-15:] = -1
    names = world.decomposition.names()
    members = {f"c{i}": [names[j] for j in (columns == i).nonzero().flatten().tolist()] for i in range(20)}
    return Grouping.of(members, world.decomposition, "f" * 64)


@pytest.fixture(scope="module")
def store(world, grouped, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grouped")
    assert world.run(folder / "run", grouping=grouped)
    combine([folder / "run"], folder / "out")
    return HarvestStore.open(folder / "out", world.decomposition)


@pytest.fixture(scope="module")
def dense(world, grouped):
    """The dense tensors of the members, made those of components by definition."""
    found = Dense(world)
    own = [(grouped.columns == i).nonzero().flatten() for i in range(len(grouped.names))]
    found.members = found.fires
    found.g = torch.stack([found.g[:, m].amax(1) for m in own], 1)
    found.a = torch.stack([found.a[:, m].square().sum(1).sqrt() for m in own], 1)
    found.fires = found.g > CONFIG.firing
    return found


def test_a_harvest_of_components_equals_dense_counts(store, dense, grouped):
    assert store.names() == grouped.names
    assert store.firings().tolist() == dense.fires.sum(0).tolist()
    importances, activations = store.importances(), store.activations()
    for d, domain in enumerate(DOMAINS):
        own = dense.domain == d
        assert torch.allclose(importances.of(domain), dense.g[own].mean(0), atol=1e-6)
        assert torch.allclose(activations[domain], dense.a[own].mean(0), atol=1e-5)
    fires = dense.fires.long()
    found, expected = store.cofiring(), fires.T @ fires
    assert found.joint.tolist() == expected[found.first.copy(), found.second.copy()].tolist()
    page = store.page("c7")
    joint = dense.fires[:, 7].double() @ dense.onehot.double()
    assert {r.token_id: r.weight for r in page.input_tokens} == {
        i: float(joint[i]) for i in joint.nonzero().flatten().tolist()
    }


def test_windows_show_the_component(store, dense):
    for number in (0, 13):
        for example in store.page(f"c{number}").examples:
            (at,) = [
                p
                for p in range(len(dense.ids))
                if dense.ids[p - example.centre : p - example.centre + len(example.ids)].tolist()
                == example.ids
                and dense.fires[p, number]
            ][:1]
            span = slice(at - example.centre, at - example.centre + len(example.ids))
            assert example.importances == pytest.approx(dense.g[span, number].tolist(), abs=0.5 / 255 + 1e-6)
            step = float(dense.a[span, number].max()) / 127
            assert example.activations == pytest.approx(dense.a[span, number].tolist(), abs=step / 2 + 1e-5)


def test_members_with_their_own_firings(store, dense, grouped, world):
    names = world.decomposition.names()
    page = store.page("c3")
    counts = dict(zip(names, dense.members.sum(0).tolist(), strict=True))
    assert {m.subcomponent: m.firings for m in page.members} == {n: counts[n] for n in grouped.members[3]}
    assert [m.firings for m in page.members] == sorted((m.firings for m in page.members), reverse=True)
    assert page.members[0].share == page.members[0].firings / page.firings
    assert sorted(store.members("c3")) == sorted(grouped.members[3])
    assert store.owner(grouped.members[3][0]) == "c3"
    assert torch.equal(store.grouping(world.decomposition).columns, grouped.columns)


def test_all_pages_have_their_members(store, grouped):
    pages = list(store.pages())
    assert pages == [store.page(name) for name in grouped.names]
    assert [sorted(m.subcomponent for m in page.members) for page in pages] == [
        sorted(m) for m in grouped.members
    ]


def test_shards_of_components_merge_to_the_same(store, world, grouped, tmp_path):
    for i in range(2):
        assert world.run(tmp_path / "run", shard=Shard(i, 2), chunk_tokens=100, grouping=grouped)
    combine([tmp_path / "run"], tmp_path / "out")
    files = [open_artifact(p).manifest.files for p in (store.artifact.path, tmp_path / "out")]
    assert files[0] == files[1]
    with pytest.raises(RankOneError, match="begun with other settings"):
        world.run(tmp_path / "run", shard=Shard(0, 2))


def test_names_that_are_not_counted(store, grouped):
    member = grouped.members[4][0]
    with pytest.raises(RankOneError, match=f"counts components, and '{member}' is a member of c4"):
        store.members(member)
    with pytest.raises(RankOneError, match=r"'c99' is not in the harvest.*Nearest: c9"):
        store.page("c99")


def test_what_turns_single_subcomponents_takes_none_of_components(store):
    with pytest.raises(RankOneError, match="counts components, but this job turns single subcomponents"):
        store.require_subcomponents("this job")


def test_mean_importances_of_components(world, grouped, dense):
    text = {d: [] for d in DOMAINS}
    for batch in batches(world.tokenizer, world.corpus, CONFIG):
        text[DOMAINS[batch.domain]].append(batch.blocks)
    first = {d: Blocks(own[0].ids, own[0].valid) for d, own in text.items()}
    with DecomposedModel(world.model, world.decomposition) as model:
        found = mean_importances(model, first, grouped)
        every = model.importance(first["de"].ids, first["de"].present)[first["de"].valid]
    expected = [every[:, grouped.columns == i].amax(1).mean() for i in range(20)]
    assert found.names == grouped.names
    assert torch.allclose(found.of("de"), torch.stack(expected), atol=1e-6)
