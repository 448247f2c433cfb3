"""A whole run: its text, the dead folded into delta, and the artefact at the end."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from tests.decomposition.tiny import decomposed, recipe, target
from tests.helpers import VOCAB, laddered, probe
from tests.helpers import tokenizer as small_tokenizer

from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.decomposition import run as module
from rankone.decomposition.evidence.records import evidence_of
from rankone.decomposition.model import DecomposedModel, load_decomposition, save_decomposition
from rankone.decomposition.run import (
    Made,
    decompose,
    evidence_text,
    fold_dead,
    made_of,
    mean_importance,
    training_rows,
)
from rankone.models.sources.names import ASSETS
from rankone.subject import Subject
from rankone.text.openers import opener_id
from rankone.text.sources.builtin import BuiltinCorpus

DEAD = [3, 10, 40]  # columns


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer()


def subject_of(tokenizer, seed=0):
    return Subject(target(seed, vocab_size=VOCAB), tokenizer, BuiltinCorpus())


def means(decomposition, dead):
    """Mean importances with exactly these columns dead."""
    mean = torch.full((decomposition.total,), 0.1)
    mean[dead] = 1e-7
    return mean


def columns_of(decomposition, site):
    start = sum(decomposition.counts[: decomposition.sites.index(site)])
    return list(range(start, start + decomposition.counts[decomposition.sites.index(site)]))


def dead_columns(decomposition, kind):
    return DEAD if kind == "some" else DEAD + columns_of(decomposition, "h.0.attn.v_proj")


@pytest.mark.parametrize("kind", ["some", "a whole site"])
def test_folding_keeps_the_names_and_logits_of_what_it_keeps(kind):
    model, ids = target(), probe(2, 6) % 30
    whole = decomposed(model, "random")
    dead = dead_columns(whole, kind)
    kept = [i for i in range(whole.total) if i not in set(dead)]
    folded = fold_dead(whole, means(whole, dead))
    assert folded.names() == [whole.names()[i] for i in kept]
    assert folded.total == len(kept) == whole.total - len(set(dead))
    for name in folded.names()[::5]:
        for ours, theirs in zip(folded.vectors(name), whole.vectors(name), strict=True):
            assert torch.equal(ours, theirs)
    with DecomposedModel(model, whole) as wrapped:
        _, inputs = wrapped.clean(ids)
    torch.testing.assert_close(folded.logits(inputs), whole.logits(inputs)[..., kept])


@pytest.mark.parametrize("kind", ["some", "a whole site"])
def test_delta_takes_over_what_is_folded(kind):
    """Under any masks of the kept ones: the folded in delta, or all the others on, is the same weight."""
    model, ids = target(), probe(2, 6) % 30
    whole = decomposed(model, "random")
    dead = dead_columns(whole, kind)
    kept = [i for i in range(whole.total) if i not in set(dead)]
    folded = fold_dead(whole, means(whole, dead))
    mask, delta = torch.ones(2, 6, whole.total), torch.ones(2, 6, len(whole.sites))
    mask[..., kept] = torch.rand(2, 6, len(kept))
    results = []
    for decomposition, own in ((whole, mask), (folded, mask[..., kept])):
        with DecomposedModel(model, decomposition) as wrapped:
            results.append(wrapped.masked(ids, own, delta))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)


def test_folding_leaves_the_original_alone_and_nothing_to_train():
    whole = decomposed(target())
    before = {k: v.clone() for k, v in whole.state_dict().items()}
    folded = fold_dead(whole, means(whole, DEAD))
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert all(torch.equal(v, before[k]) for k, v in whole.state_dict().items())
    assert not any(p.requires_grad for p in folded.parameters())


def test_folding_twice_keeps_the_first_numbering():
    whole = decomposed(target())
    once = fold_dead(whole, means(whole, [0, 1]))
    twice = fold_dead(once, means(once, [0]))
    assert once.names()[0].endswith(":2")
    assert twice.names() == whole.names()[3:]


def test_the_threshold_itself_is_dead():
    whole = decomposed(target())
    mean = torch.full((whole.total,), 0.5)
    mean[0], mean[1] = 1e-6, 2e-6
    assert fold_dead(whole, mean).total == whole.total - 1
    assert fold_dead(whole, mean, threshold=0.1).total == whole.total - 2


def test_a_folded_decomposition_survives_the_disk(tmp_path):
    model = target()
    whole = decomposed(model)
    folded = fold_dead(whole, means(whole, dead_columns(whole, "a whole site")))
    save_decomposition(folded, model, tmp_path / "d", {}, None)
    loaded, _ = load_decomposition(tmp_path / "d", model)
    assert loaded.names() == folded.names()
    assert loaded.counts == folded.counts


def test_mean_importance_is_over_the_last_rows():
    model = target()
    decomposition = decomposed(model)
    rows = np.random.default_rng(0).integers(0, 30, (40, 5)).astype(np.int32)
    found = mean_importance(model, decomposition, rows, count=20)
    with DecomposedModel(model, decomposition) as wrapped:
        expected = wrapped.importance(torch.from_numpy(rows[20:].astype(np.int64))).mean((0, 1))
    torch.testing.assert_close(found, expected)


def test_rows_are_made_once_per_run(tmp_path, tokenizer):
    config, subject = recipe(steps=3, context=16), subject_of(tokenizer)
    rows = training_rows(config, subject, tmp_path / "a", "hash")
    assert rows.shape[1] == 16
    assert rows.dtype == np.int32
    assert rows.max() < VOCAB
    assert len(rows) >= 3 * config.rows - 1
    without = replace(subject, corpus=None)
    again = training_rows(config, without, tmp_path / "a", "hash")  # does not read the text again
    assert np.array_equal(rows, again)
    other = training_rows(config.model_copy(update={"seed": 1}), subject, tmp_path / "b", "hash")
    assert not np.array_equal(rows, other)
    with pytest.raises(RankOneError, match="started with another recipe"):
        training_rows(config, subject, tmp_path / "a", "another")


def test_evidence_text_is_held_out_and_in_proportion(tokenizer):
    mixture = recipe(mixture={"en": {"weight": 3.0}, "code": {"weight": 1.0}}).mixture
    subject = subject_of(tokenizer)
    blocks = evidence_text(subject, mixture, context=16, tokens=128)
    assert blocks.ids.shape == (8, 16)  # six rows and two
    assert (blocks.ids[:, 0] == opener_id(tokenizer)).all()
    assert not blocks.valid[:, 0].any()
    only = [
        evidence_text(subject, {d: mixture[d]}, context=16, tokens=n) for d, n in (("en", 96), ("code", 32))
    ]
    assert [len(one.ids) for one in only] == [6, 2]


@pytest.fixture
def quick(monkeypatch):
    """A few tokens of evidence and two steps of PGD."""
    monkeypatch.setattr(module, "evidence_text", partial(evidence_text, tokens=40))
    monkeypatch.setattr(module, "account_on", laddered(module.account_on, (1, 2)))


def test_a_whole_run_with_a_break_in_it(tmp_path, tokenizer, quick):
    config, out = recipe(steps=4, context=16), tmp_path / "out"
    first = decompose(config, subject_of(tokenizer), tmp_path / "run", out, stop_after=2)
    assert first is None
    assert not out.exists()
    subject = subject_of(tokenizer)
    model = subject.model
    assert decompose(config, subject, tmp_path / "run", out) == out
    loaded, artifact = load_decomposition(out, model)
    evidence, provenance = evidence_of(artifact), artifact.provenance
    assert evidence.kept == loaded.total
    assert evidence.subcomponents == 4 * 8 + 2 * 12
    assert sum(provenance["original_subcomponents"].values()) == 4 * 8 + 2 * 12
    assert provenance["recipe"] == config.model_dump()
    assert provenance["steps"] == 4
    whole = tmp_path / "whole"
    decompose(config, subject_of(tokenizer), tmp_path / "other", whole)
    unbroken, _ = load_decomposition(whole, model)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), unbroken.parameters(), strict=True))
    with pytest.raises(RankOneError, match="exist"):
        decompose(config, subject, tmp_path / "run", out)


def test_another_recipe_or_model_in_the_same_run_is_refused(tmp_path, tokenizer, quick):
    config, out = recipe(steps=2, context=16), tmp_path / "out"
    decompose(config, subject_of(tokenizer), tmp_path / "run", out, stop_after=1)
    other = config.model_copy(update={"faithfulness": 1.0})
    for recipe_, subject in ((other, subject_of(tokenizer)), (config, subject_of(tokenizer, seed=1))):
        with pytest.raises(RankOneError, match="another recipe, model or text"):
            decompose(recipe_, subject, tmp_path / "run", out)


def test_dead_ones_can_be_kept(tmp_path, tokenizer, quick):
    config, out, subject = recipe(steps=1, context=16), tmp_path / "out", subject_of(tokenizer)
    decompose(config, subject, tmp_path / "run", out, fold=False)
    assert load_decomposition(out, subject.model)[0].total == 4 * 8 + 2 * 12


def test_the_shipped_decomposition_says_what_it_read():
    recipe = made_of(open_artifact(ASSETS / "mini-decomposition")).recipe
    assert recipe.tokens_of("de") == round(1500 * 16 * 128 * 0.16)
    assert recipe.tokens_of("nl") == 0


def test_narrow_text_is_counted_in_whole_rows_as_it_is_read():
    recipe = {
        "mixture": {"en": {"weight": 1}, "de": {"weight": 1}},
        "targeted": {"mixture": {"de": {"weight": 1}}, "fraction": 0.01},
        "steps": 10,
        "rows": 4,
        "context": 8,
    }
    said = Made.checked({"recipe": recipe}, "a manifest").recipe
    assert said.tokens_of("de") == 10 * 8 * (1 + 3 / 2)
