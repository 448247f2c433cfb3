"""What fires at sampled positions, against importances computed row by row."""

from __future__ import annotations

import numpy as np
import pytest
from tests.decomposition.tiny import decomposed, target

from rankone.clustering import sample as module
from rankone.clustering.config import ClusterConfig
from rankone.clustering.sample import draw_sample, sampled
from rankone.core.errors import RankOneError
from rankone.decomposition.model import DecomposedModel
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.plan import batches
from rankone.workspace import Workspace

DOMAINS = ("de", "en")


def config(**changes):
    return ClusterConfig(**{"domains": DOMAINS, "tokens": 300, "context": 40, "per_row": 8, **changes})


@pytest.fixture(scope="module")
def workspace(tokenizer, corpus):
    model = target(vocab_size=len(tokenizer))
    return Workspace(model, tokenizer, corpus, decomposed(model))


@pytest.fixture(scope="module")
def drawn(workspace):
    return draw_sample(workspace, config())


def plan(tokenizer, corpus, **changes):
    return list(batches(tokenizer, corpus, HarvestConfig(domains=DOMAINS, tokens=300, context=40, **changes)))


def test_firings_equal_a_loop_over_positions(workspace, tokenizer, corpus, drawn):
    names, expected, domains = workspace.decomposition.names(), [], []
    with DecomposedModel(workspace.model, workspace.decomposition) as model:
        for batch in plan(tokenizer, corpus):
            chosen = sampled(batch, 8, 0)
            for ids, valid, own in zip(batch.blocks.ids, batch.blocks.valid, chosen, strict=True):
                g = model.importance(ids[None, : int(valid.sum()) + 1])[0]
                for column in own.nonzero().flatten().tolist():
                    expected.append({names[c] for c in (g[column] > 0.1).nonzero().flatten().tolist()})
                    domains.append(batch.domain)
    found = [set() for _ in range(drawn.positions)]
    for position, unit in zip(drawn.position.tolist(), drawn.unit.tolist(), strict=True):
        found[position].add(drawn.names[unit])
    assert found == expected
    assert drawn.domain.tolist() == domains
    assert set(domains) == {0, 1}
    order = drawn.position.astype(np.int64) * len(drawn.names) + drawn.unit
    assert (np.diff(order) > 0).all()


def test_at_most_so_many_of_each_row_and_never_padding(tokenizer, corpus):
    for batch in plan(tokenizer, corpus):
        own = sampled(batch, 8, 0)
        assert not (own & ~batch.blocks.valid).any()
        assert own.sum(1).tolist() == batch.blocks.valid.sum(1).clamp(max=8).tolist()


def test_the_choice_follows_the_seed_and_not_the_batches(tokenizer, corpus):
    def chosen(seed, **changes):
        found = set()
        for batch in plan(tokenizer, corpus, **changes):
            own = sampled(batch, 3, seed)
            for start, columns in zip(batch.starts.tolist(), own, strict=True):
                found |= {start + column - 1 for column in columns.nonzero().flatten().tolist()}
        return found

    assert len(plan(tokenizer, corpus, batch_tokens=100)) > len(plan(tokenizer, corpus))
    assert chosen(0) == chosen(0, batch_tokens=100)
    assert chosen(0) != chosen(1)


def test_a_choice_is_uniform(tokenizer, corpus):
    """One of each row, over 400 seeds: every token of a row of 39 comes up about 10 times."""
    batch = plan(tokenizer, corpus)[0]
    counts = sum(sampled(batch, 1, seed)[0].long() for seed in range(400))
    size = int(batch.blocks.valid[0].sum())
    chi_squared = ((counts[1 : size + 1] - 400 / size) ** 2 / (400 / size)).sum()
    assert counts.sum() == 400
    assert chi_squared < size + 4 * (2 * size) ** 0.5


def test_rare_ones_are_left_out(workspace, drawn):
    counts = dict(zip(drawn.names, np.bincount(drawn.unit).tolist(), strict=True))
    least = sorted(counts.values())[len(counts) // 2]
    found = draw_sample(workspace, config(least_firings=least))
    assert found.names == [name for name, count in counts.items() if count >= least]
    assert np.bincount(found.unit).tolist() == [counts[name] for name in found.names]
    assert 0 < len(found.names) < len(counts)


def test_a_threshold_that_leaves_nothing(workspace, monkeypatch):
    importance = DecomposedModel.importance
    monkeypatch.setattr(DecomposedModel, "importance", lambda *given: importance(*given) * 0.05)
    with pytest.raises(
        RankOneError, match=r"0 subcomponents are above the threshold 0\.1 .*Lower --threshold"
    ):
        draw_sample(workspace, config())


def test_too_many_alive(workspace, monkeypatch):
    monkeypatch.setattr(module, "MOST_ALIVE", 3)
    with pytest.raises(
        RankOneError, match=r"at most 3 can be clustered\. Raise --threshold or --least-firings"
    ):
        draw_sample(workspace, config())


def test_too_little_text(workspace):
    with pytest.raises(RankOneError, match=r"only 60 positions; at least 100 .*raise --tokens"):
        draw_sample(workspace, config(tokens=30, per_row=40))


def test_an_unknown_domain(workspace):
    with pytest.raises(RankOneError, match="no text for 'dee'"):
        draw_sample(workspace, config(domains=("dee",)))
