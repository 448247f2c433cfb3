"""A whole harvest of a tiny model against dense counts; shards, interruptions and bad input."""

from __future__ import annotations

import itertools
import math
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tests.decomposition.tiny import elsewhere
from tests.harvest.counting.test_plan import Texts
from tests.tiny import RECIPE, tiny_model

from rankone.core.artifact import open_artifact
from rankone.core.claims import retired
from rankone.core.errors import RankOneError
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.model import DecomposedModel
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting import collect
from rankone.harvest.counting.chunks import OpenChunk, ShardFolder
from rankone.harvest.counting.combine import combine
from rankone.harvest.counting.plan import batches
from rankone.harvest.counting.sampling import firing_keys
from rankone.harvest.counting.shard import Shard
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.run import harvest
from rankone.text.vocabulary import spelled
from rankone.workspace import Workspace

DOMAINS = ("de", "en", "code")
CONFIG = HarvestConfig(
    domains=DOMAINS, tokens=150, context=24, examples=6, window=4, top_tokens=5, batch_tokens=60, seed=7,
    least_probability=0.0095,
)  # fmt: skip


class CutOff(BaseException):
    """A harvest was cut off between two chunks."""


@dataclass(frozen=True)
class World:
    """What a harvest is made of."""

    model: object
    tokenizer: object
    decomposition: object
    corpus: object

    def run(self, folder, stop_after=None, **options):
        """Harvest; whether it came to its end, and was not cut off after so many chunks."""
        opened, count = ShardFolder.open_chunk, itertools.count()

        def cut_off(shard, first):
            if next(count) == stop_after:
                raise CutOff
            return opened(shard, first)

        workspace = Workspace(self.model, self.tokenizer, self.corpus, self.decomposition)
        with pytest.MonkeyPatch.context() as patch, suppress(CutOff):
            patch.setattr(ShardFolder, "open_chunk", cut_off)
            harvest(workspace, options.pop("config", CONFIG), folder, **options)
            return True
        return False


@pytest.fixture(scope="module")
def world(tokenizer, corpus):
    torch.manual_seed(4)
    model = tiny_model(len(tokenizer))
    decomposition = new_decomposition(model, DecomposeConfig.model_validate(RECIPE))
    decomposition = decomposition.eval().requires_grad_(False)
    # Untrained importances are above zero half of the time; a few always or never.
    decomposition.importance.head.bias.add_(torch.randn(decomposition.total) - 0.5)
    decomposition.importance.head.bias[0] = -10.0
    return World(model, tokenizer, decomposition, corpus)


@pytest.fixture(scope="module")
def store(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("harvest")
    assert world.run(folder / "run")
    combine([folder / "run"], folder / "out")
    return HarvestStore.open(folder / "out", world.decomposition)


class Dense:
    """Every statistic as one dense tensor over all positions."""

    def __init__(self, world):
        g, a, ids, domain, row, likely = [], [], [], [], [], []
        sizes = [world.decomposition.factors(s)[1].norm(dim=1) for s in world.decomposition.sites]
        with DecomposedModel(world.model, world.decomposition) as model:
            for batch in batches(world.tokenizer, world.corpus, CONFIG):
                valid = batch.blocks.valid
                logits, inputs = model.clean(batch.blocks.ids)
                g.append(model.importance(batch.blocks.ids, batch.blocks.present)[valid])
                acts = [
                    (x @ world.decomposition.factors(s)[0]) * n
                    for s, x, n in zip(world.decomposition.sites, inputs, sizes, strict=True)
                ]
                a.append(torch.cat(acts, -1)[valid])
                ids.append(batch.blocks.ids[valid])
                count = int(valid.sum())
                domain.append(torch.full((count,), batch.domain))
                row.append(torch.repeat_interleave(batch.starts, valid.sum(1)))
                p = logits[valid].softmax(-1)
                kept = torch.zeros_like(p)
                best = p.topk(CONFIG.top_tokens)
                kept.scatter_(1, best.indices, best.values * (best.values >= CONFIG.least_probability))
                likely.append(kept)
        self.g, self.a, self.ids = torch.cat(g), torch.cat(a), torch.cat(ids)
        self.domain, self.row, self.likely = torch.cat(domain), torch.cat(row), torch.cat(likely)
        self.fires = self.g > CONFIG.firing
        self.onehot = torch.nn.functional.one_hot(self.ids, self.likely.shape[1])


@pytest.fixture(scope="module")
def dense(world):
    return Dense(world)


def table(found, rows, columns, shape):
    out = torch.zeros(shape, dtype=torch.float64)
    out[torch.tensor(rows.to_numpy()), torch.tensor(columns.to_numpy())] = torch.tensor(
        found.to_numpy().astype(np.float64)
    )
    return out


def test_the_case_is_a_fair_one(dense):
    density = dense.fires.float().mean(0)
    assert (density == 0).any()
    assert (density > 0.9).any()
    assert ((density > 0.01) & (density < 0.5)).sum() > 20
    assert dense.fires.sum(0).max() > 10 * CONFIG.examples
    assert 1.5 < (dense.likely > 0).sum(1).float().mean() < CONFIG.top_tokens


def test_per_domain_sums(store, dense):
    found = store.table("SELECT * FROM domains ORDER BY part, domain")
    parts = dense.g.shape[1]
    for d in range(len(DOMAINS)):
        own = dense.domain == d
        mine = found.filter(found["domain"].to_numpy() == d)
        assert mine["part"].to_pylist() == list(range(parts))
        for i, threshold in enumerate(CONFIG.thresholds):
            assert mine[f"above_{i}"].to_pylist() == (dense.g[own] > threshold).sum(0).tolist()
        assert mine["mean_importance"].to_numpy() == pytest.approx(dense.g[own].mean(0).numpy(), abs=1e-6)
        assert mine["mean_activation"].to_numpy() == pytest.approx(dense.a[own].mean(0).numpy(), abs=1e-5)
    assert store.tokens() == {name: 150 for name in DOMAINS}


def test_tokens_equal_dense_counts(store, dense):
    shape = (dense.g.shape[1], dense.likely.shape[1])
    fires = dense.fires.double()
    inputs, outputs = store.table("FROM inputs"), store.table("FROM outputs")
    counted = table(inputs["weight"], inputs["part"], inputs["token"], shape)
    assert torch.equal(counted, fires.T @ dense.onehot.double())
    assert len(inputs) == int((counted > 0).sum())
    mass = table(outputs["weight"], outputs["part"], outputs["token"], shape)
    assert torch.allclose(mass, fires.T @ dense.likely.double(), atol=1e-5, rtol=2**-11)
    assert len(outputs) == int((fires.T @ (dense.likely > 0).double() > 0).sum())
    words = store.table("FROM vocabulary")
    assert words["inputs"].to_pylist() == dense.onehot.sum(0).tolist()
    assert words["outputs"].to_numpy() == pytest.approx(dense.likely.sum(0).numpy(), abs=1e-5)


def test_cofiring_equals_the_dense_product(store, dense):
    fires = dense.fires.long()
    expected = fires.T @ fires
    found = store.cofiring()
    assert len(found.joint) == int((expected.triu(1) > 0).sum())
    assert found.joint.tolist() == expected[found.first, found.second].tolist()
    assert (found.first < found.second).all()
    assert store.firings().tolist() == fires.sum(0).tolist()


def test_a_page_by_hand(store, dense, world):
    fires = dense.fires.double()
    number = int((dense.fires.sum(0) - 60).abs().argmin())
    name = world.decomposition.names()[number]
    page = store.page(name)
    own, n = fires[:, number], len(fires)
    firings = int(own.sum())
    assert (page.part, page.tokens, page.firings) == (name, n, firings)
    assert page.densities == {t: float((dense.g[:, number] > t).sum()) / n for t in CONFIG.thresholds}
    assert page.mean_importance == pytest.approx(float(dense.g[:, number].mean()), abs=1e-6)
    assert page.mean_activation == pytest.approx(float(dense.a[:, number].mean()), abs=1e-5)
    for d, row in enumerate(page.domains):
        mine = own[dense.domain == d]
        assert (row.domain, row.tokens, row.firings) == (DOMAINS[d], 150, int(mine.sum()))
        assert row.density == pytest.approx(float(mine.mean()))
        assert row.lift == pytest.approx(float(mine.mean() / own.mean()))
    # Masses are rounded when they are written.
    for rows, weights, close in (
        (page.input_tokens, dense.onehot.double(), {"rel": 1e-4, "abs": 1e-5}),
        (page.output_tokens, dense.likely.double(), {"rel": 2**-11, "abs": 2**-11}),
    ):
        joint, whole = own @ weights, weights.sum(0)
        assert {r.token_id for r in rows} == set(joint.nonzero().squeeze(1).tolist())
        assert [r.pmi for r in rows] == sorted((r.pmi for r in rows), reverse=True)
        for r in rows:
            w, total = float(joint[r.token_id]), float(whole[r.token_id])
            assert r.text == spelled(world.tokenizer)[r.token_id]
            assert r.weight == pytest.approx(w, **close)
            assert r.pmi == pytest.approx(math.log(w * n / (firings * total)), **close)
            assert r.precision == pytest.approx(w / firings, **close)
            assert r.recall == pytest.approx(w / total, **close)
            assert r.lift == pytest.approx(math.exp(r.pmi))
    names = world.decomposition.names()
    joint = own @ fires
    jaccard = joint / (firings + fires.sum(0) - joint)
    jaccard[number] = -1
    assert [r.jaccard for r in page.cofiring] == pytest.approx(
        jaccard.sort(descending=True).values[: len(page.cofiring)].tolist()
    )
    assert len(page.cofiring) == min(64, int((jaccard > 0).sum()))
    for r in page.cofiring:
        assert r.joint == int(joint[names.index(r.part)])


def test_examples_are_the_sample_with_its_windows(store, dense, world):
    """For every subcomponent: the firings with the smallest keys, and around them what the dense tensors hold."""
    names = world.decomposition.names()
    for number, name in enumerate(names):
        position = dense.fires[:, number].nonzero().squeeze(1)
        key = firing_keys(CONFIG.seed, position, torch.full_like(position, number))
        expected = position[key.argsort()][: CONFIG.examples].tolist()
        examples = store.page(name).examples
        assert len(examples) == len(expected)
        for example, p in zip(examples, expected, strict=True):
            same = (dense.row == dense.row[p]).nonzero().squeeze(1)
            low, high = max(int(same[0]), p - CONFIG.window), min(int(same[-1]), p + CONFIG.window) + 1
            assert example.domain == DOMAINS[int(dense.domain[p])]
            assert example.ids == dense.ids[low:high].tolist()
            words = spelled(world.tokenizer)
            assert example.tokens == [words[i] for i in example.ids]
            assert example.centre == p - low
            assert example.importances == pytest.approx(
                dense.g[low:high, number].tolist(), abs=0.5 / 255 + 1e-6
            )
            step = float(dense.a[low:high, number].abs().max()) / 127
            assert example.activations == pytest.approx(
                dense.a[low:high, number].tolist(), abs=step / 2 + 1e-5
            )


def test_fewer_examples_and_tokens_on_request(store, world):
    name = world.decomposition.names()[int(np.argmax(store.firings()))]
    whole, some = store.page(name), store.page(name, examples=2, tokens=3)
    assert some.examples == whole.examples[:2]
    heaviest = sorted((r.weight for r in whole.input_tokens), reverse=True)[:3]
    assert sorted((r.weight for r in some.input_tokens), reverse=True) == heaviest


def test_a_page_of_what_never_fires(store, world):
    silent = int(np.argmin(store.firings()))
    page = store.page(world.decomposition.names()[silent])
    assert page.firings == 0
    assert page.input_tokens == page.output_tokens == page.cofiring == page.examples == []
    assert [row.lift for row in page.domains] == [0.0] * len(DOMAINS)


def test_importances_are_those_of_the_summary(store, dense):
    found = store.importances()
    assert found.domains == list(DOMAINS) == store.domains()
    assert found.names == store.names()
    for d, domain in enumerate(DOMAINS):
        assert torch.allclose(found.of(domain), dense.g[dense.domain == d].mean(0), atol=1e-6)


def files(path):
    return open_artifact(path, "harvest").manifest.files


@pytest.fixture
def small_buffers(monkeypatch):
    """Everything is summed up and written after every few firings."""
    monkeypatch.setattr(collect, "FIRINGS_HELD", 2000)
    monkeypatch.setattr(collect, "WINDOWS_HELD", 500)


@pytest.mark.parametrize("count", [2, 3])
def test_shards_make_up_the_whole_to_the_byte(world, store, tmp_path, small_buffers, count):
    for i in reversed(range(count)):
        assert world.run(tmp_path / f"run{i % 2}", shard=Shard(i, count), chunk_tokens=100)
    combine([tmp_path / "run1", tmp_path / "run0"], tmp_path / "out")
    assert files(tmp_path / "out") == files(store.artifact.path)


def test_an_interrupted_run_goes_on(world, store, tmp_path, small_buffers, monkeypatch, caplog):
    caplog.set_level("INFO", "rankone")
    """Cut off between parts, then in the middle of one; what was half-written is done again."""
    assert not world.run(tmp_path / "run", chunk_tokens=100, stop_after=2)
    add, calls = collect.Collector.add, []

    def fails(self, batch, part):
        calls.append(batch.index)
        if len(calls) == 4:
            raise KeyboardInterrupt
        add(self, batch, part)

    monkeypatch.setattr(collect.Collector, "add", fails)
    with pytest.raises(KeyboardInterrupt):
        world.run(tmp_path / "run", chunk_tokens=100)
    retired(tmp_path / "run/shard-000-of-001/chunk-00000099")
    monkeypatch.setattr(collect.Collector, "add", add)
    assert world.run(tmp_path / "run", chunk_tokens=100)
    assert "resuming at batch" in caplog.text
    combine([tmp_path / "run"], tmp_path / "out")
    assert files(tmp_path / "out") == files(store.artifact.path)
    assert world.run(tmp_path / "run"), "a finished shard is left alone"
    assert "is finished" in caplog.text


def test_what_is_exactly_at_the_threshold_does_not_fire(world, dense, tmp_path):
    importance = dense.g[dense.domain == 0]
    exact = float(importance[(importance > 0.2) & (importance < 0.8)].median())
    config = CONFIG.model_copy(update={"thresholds": (0.0, exact), "firing": exact, "domains": ("de",)})
    assert world.run(tmp_path / "run", config=config)
    combine([tmp_path / "run"], tmp_path / "out")
    store = HarvestStore.open(tmp_path / "out")
    inputs = store.table("SELECT part, sum(weight)::BIGINT AS n FROM inputs GROUP BY part ORDER BY part")
    expected = (importance > exact).sum(0)
    assert store.firings().tolist() == expected.tolist()
    assert inputs["n"].to_pylist() == expected[expected > 0].tolist()


def test_windows_are_not_held_until_the_end_of_a_chunk(world, tmp_path, small_buffers, monkeypatch):
    written = []
    write = OpenChunk.write
    monkeypatch.setattr(
        OpenChunk, "write", lambda self, name, rows: (written.append(name), write(self, name, rows))
    )
    assert world.run(tmp_path / "run")
    assert len(list((tmp_path / "run").glob("*/chunk-*"))) == 1
    assert written.count("examples") > 1


def test_nothing_fires_at_all(world, tmp_path):
    config = CONFIG.model_copy(update={"thresholds": (0.0, 0.999999), "firing": 0.999999, "domains": ("de",)})
    bias = world.decomposition.importance.head.bias
    before = bias.clone()
    bias.sub_(1000)
    try:
        assert world.run(tmp_path / "run", config=config)
    finally:
        bias.copy_(before)
    combine([tmp_path / "run"], tmp_path / "out")
    store = HarvestStore.open(tmp_path / "out")
    assert store.firings().sum() == 0
    assert len(store.cofiring().joint) == 0
    assert store.page(store.names()[0]).examples == []
    empty = pq.read_schema(tmp_path / "out" / "examples.parquet")
    assert empty.field("importances").type.byte_width == 2 * config.window + 1


def test_the_store_is_sparse(store, dense):
    """No table has more rows than things that happened."""
    fires = dense.fires
    happened = {
        "inputs": int(fires.sum()),
        "outputs": int(fires.sum()) * CONFIG.top_tokens,
        "examples": int(fires.sum(0).clamp(max=CONFIG.examples).sum()),
        "domains": len(DOMAINS) * fires.shape[1],
    }
    for name, most in happened.items():
        assert len(store.table(f"FROM {name}")) <= most


# Bad input.


def test_another_decomposition_is_refused(store, world):
    other = new_decomposition(world.model, DecomposeConfig.model_validate(RECIPE))
    with pytest.raises(RankOneError, match="was made from another decomposition"):
        HarvestStore.open(store.artifact.path, other)


def test_another_model_is_refused_whatever_its_decomposition(store, world):
    """Its embedding is in no decomposed site, but it decides what fires."""
    HarvestStore.open(store.artifact.path, world.decomposition, world.model)
    with pytest.raises(RankOneError, match="was made from another model"):
        HarvestStore.open(store.artifact.path, world.decomposition, elsewhere(world.model))


def test_a_run_directory_of_something_else_is_refused(world, tmp_path):
    world.run(tmp_path, stop_after=1, chunk_tokens=50)
    with pytest.raises(RankOneError, match="begun with other settings"):
        world.run(tmp_path, config=CONFIG.model_copy(update={"seed": 8}))


def test_missing_mixed_and_unfinished_shards_are_named(world, tmp_path):
    with pytest.raises(RankOneError, match="no run directory"):
        combine([tmp_path / "nowhere"], tmp_path / "out")
    with pytest.raises(RankOneError, match="no shards in"):
        combine([tmp_path], tmp_path / "out")
    world.run(tmp_path / "a", shard=Shard(0, 2))
    with pytest.raises(RankOneError, match="shard-001-of-002 missing or unfinished"):
        combine([tmp_path / "a"], tmp_path / "out")
    world.run(tmp_path / "a", shard=Shard(1, 2), stop_after=1, chunk_tokens=50)
    with pytest.raises(RankOneError, match="shard-001-of-002 missing or unfinished"):
        combine([tmp_path / "a"], tmp_path / "out")
    world.run(tmp_path / "b", shard=Shard(1, 2), config=CONFIG.model_copy(update={"seed": 8}))
    with pytest.raises(RankOneError, match="is of another harvest than"):
        combine([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_shards_given_twice_are_refused(world, tmp_path):
    for folder in ("a", "b"):
        world.run(tmp_path / folder)
    with pytest.raises(RankOneError, match="do not fit together"):
        combine([tmp_path / "a", tmp_path / "b"], tmp_path / "out")


def test_a_truncated_part_is_named(world, tmp_path):
    world.run(tmp_path / "run")
    (path,) = (tmp_path / "run").glob("*/chunk-*/inputs.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RankOneError, match=r"inputs.parquet' was altered or truncated"):
        combine([tmp_path / "run"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_existing_output_is_kept(world, tmp_path):
    world.run(tmp_path / "run")
    (tmp_path / "out").mkdir()
    with pytest.raises(RankOneError, match="already exists"):
        combine([tmp_path / "run"], tmp_path / "out")


def test_an_empty_domain_is_named(world, tmp_path):
    empty = World(world.model, world.tokenizer, world.decomposition, Texts(a=["some text"], b=[""]))
    with pytest.raises(RankOneError, match="train text of 'b' in 'texts' is empty"):
        empty.run(tmp_path, config=CONFIG.model_copy(update={"domains": ("a", "b")}))


def test_a_mistyped_command_leaves_nothing_behind(world, tmp_path):
    for change in ({"domains": ("de", "eng")}, {"split": "tran"}):
        with pytest.raises(RankOneError):
            world.run(tmp_path / "run", config=CONFIG.model_copy(update=change))
    silent = World(world.model, world.tokenizer, world.decomposition, Texts(a=["some text"], b=[]))
    with pytest.raises(RankOneError, match="is empty"):
        silent.run(tmp_path / "run", config=CONFIG.model_copy(update={"domains": ("a", "b")}))
    assert not (tmp_path / "run").exists()


def test_unknown_names_and_queries(store):
    with pytest.raises(RankOneError, match=r"'h\.0\.mlp\.c_fc:999' is not in the harvest.*Nearest"):
        store.page("h.0.mlp.c_fc:999")
    with pytest.raises(RankOneError, match="query failed"):
        store.table("SELECT nothing FROM nowhere")


@pytest.mark.parametrize(
    ("text", "message"), [("1", "not I/N"), ("2/2", "from 0|0/2 to 1/2"), ("0/0", "no shard")]
)
def test_wrong_shards(text, message):
    with pytest.raises(RankOneError, match=message):
        Shard.parse(text)


def test_activations_are_the_dense_means(store, dense):
    for i, (name, found) in enumerate(store.activations().items()):
        assert name == DOMAINS[i]
        assert torch.allclose(found, dense.a[dense.domain == i].mean(0), atol=1e-4)


def test_all_pages_are_those_read_one_by_one(store, monkeypatch):
    for at_once in (1, 5, 1000):
        monkeypatch.setattr("rankone.harvest.reading.store.PAGES_AT_ONCE", at_once)
        assert list(store.pages()) == [store.page(name) for name in store.names()]
    first = next(store.pages(examples=2, tokens=3))
    assert first == store.page(first.part, examples=2, tokens=3)


def test_parts_that_were_removed_or_copied_are_refused(world, tmp_path):
    import shutil

    assert world.run(tmp_path / "run", chunk_tokens=100)
    folder = tmp_path / "run/shard-000-of-001"
    parts = sorted(folder.glob("chunk-*"))
    assert len(parts) > 2
    shutil.copytree(parts[1], folder / "chunk-00009999")
    with pytest.raises(RankOneError, match=r"do not count each batch once: batch \d+ is in 2 of them"):
        combine([tmp_path / "run"], tmp_path / "out")
    shutil.rmtree(folder / "chunk-00009999")
    shutil.rmtree(parts[-1])
    with pytest.raises(RankOneError, match=r"do not count each batch once: batch \d+ is in 0 of them"):
        combine([tmp_path / "run"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
