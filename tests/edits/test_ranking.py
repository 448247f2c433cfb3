"""Rankings by every criterion on counts, labels and models made by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from tests.decomposition.tiny import decomposed, target
from tests.harvest.counted import Counted
from tests.helpers import NoWords, workspace
from tests.labels.written import written

from rankone.core.errors import RankOneError
from rankone.edits.criteria import CRITERIA
from rankone.edits.gradients import scale_gradients
from rankone.edits.ranking import RANKINGS, Asked, Sources, rank
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace

SIZES = {"de": 100, "en": 100, "fr": 100}
COMPONENTS = {"a:0": (50, 10, 40), "a:1": (40, 0, 0), "a:2": (30, 30, 90), "a:3": (0, 0, 0)}
VOCABULARY = [("der", 10, 4.0), (" der", 20, 6.0), ("und", 5, 5.0)]
OUTPUTS = {"a:0": {"der": 2.0, " der": 3.0}, "a:1": {" der": 6.0}, "a:2": {"der": 0.4}}
LABELS = written(
    a_0=("German words", 0.4), a_1=("Germanic words", 0.9), a_2=("words, German", 0.5), a_3=("rare", 0.1)
)


def refuse():
    raise AssertionError("the model was opened")


def sources(harvest=True, labels=None, domains=tuple(SIZES), **kinds):
    store = Counted(SIZES, COMPONENTS, VOCABULARY, outputs=OUTPUTS) if harvest else None
    return Sources(kinds.get("opened", refuse), domains, 8, store, labels)


def best(ranking, top=9):
    return [(ranking.names[i], round(float(ranking.values[i]), 3)) for i in ranking.order(top)]


def test_specificity_is_the_default():
    ranking = rank(Asked(of=("de",)), sources())
    assert best(ranking) == [("a:1", 0.4), ("a:0", 0.1), ("a:3", 0.0), ("a:2", -0.6)]
    assert ranking.columns["en"] == [0.1, 0.0, 0.3, 0.0]


def test_specificity_looks_at_the_domains_that_are_compared():
    found = best(rank(Asked(of=("de",)), sources(domains=("de", "en"))), 2)
    assert sorted(found) == [("a:0", 0.4), ("a:1", 0.4)]


def test_groups_make_a_contrast():
    ranking = rank(Asked(of=("de", "fr"), against=("en",)), sources())
    assert best(ranking, 2) == [("a:0", 0.35), ("a:2", 0.3)]
    assert "de, fr" in ranking.title


def test_token_by_output_pmi():
    """der and its form with a space are one: 10 of 300 mass; a:2 gave it less than one position's worth."""
    ranking = rank(Asked(token="der"), sources())
    assert best(ranking) == [
        ("a:1", round(math.log(6 * 300 / (40 * 10)), 3)),
        ("a:0", round(math.log(5 * 300 / (100 * 10)), 3)),
    ]
    assert "2 vocabulary entries" in ranking.note
    assert best(rank(Asked(token=" der"), sources()), 1) == [("a:1", round(math.log(6 * 300 / (40 * 6)), 3))]


def test_a_mass_of_one_position_is_enough():
    store = Counted(SIZES, COMPONENTS, VOCABULARY, outputs={"a:0": {"der": 1.0}, "a:2": {"der": 0.999}})
    ranking = rank(Asked(token="der"), Sources(refuse, tuple(SIZES), 8, store))
    assert [name for name, _ in best(ranking)] == ["a:0"]


def test_components_that_a_harvest_counts_are_what_is_ranked():
    class Grouped:
        clusters = "a fingerprint"

        def grouping(self, decomposition):
            assert decomposition == "the decomposition"
            return SimpleNamespace(names=["c0", "c1"])

    opened = SimpleNamespace(decomposition="the decomposition")
    assert Sources(lambda: opened, (), 8, Grouped()).names == ["c0", "c1"]


def test_a_token_that_is_never_expected():
    with pytest.raises(RankOneError, match="'und' is predicted nowhere"):
        rank(Asked(token="und"), sources())
    with pytest.raises(RankOneError, match="no token 'dern'"):
        rank(Asked(token="dern"), sources())


def test_label_by_confidence():
    ranking = rank(Asked(label="german"), sources(labels=LABELS))
    assert best(ranking) == [("a:2", 0.5), ("a:1", 0.45), ("a:0", 0.4)]
    with pytest.raises(RankOneError, match=r"no label holds 'dutch' \(4 labels searched\)"):
        rank(Asked(label="dutch"), sources(labels=LABELS))


def test_unembedding(tokenizer):
    model = target(vocab_size=len(tokenizer))
    decomposition = decomposed(model, "random")
    ranking = rank(
        Asked(token=" the"), sources(False, opened=lambda: workspace(model, decomposition, tokenizer))
    )
    top = ranking.names[ranking.order(1)[0]]
    written = [name for i, name in enumerate(ranking.names) if ranking.values[i] > -math.inf]
    assert {n.rsplit(":", 1)[0] for n in written} == {
        "h.0.attn.o_proj",
        "h.0.mlp.down_proj",
    }
    (token,) = [i for i in range(len(tokenizer)) if tokenizer.decode([i]) == " the"]
    rows = model.lm_head.weight.detach() * model.ln_f.weight.detach()
    effects = rows @ decomposition.vectors(top)[1]
    z = (effects[token] - effects.mean()) / effects.std(correction=0)
    assert float(ranking.values[ranking.order(1)[0]]) == pytest.approx(abs(float(z)), abs=1e-3)
    names = decomposition.names()
    writes = torch.stack([decomposition.vectors(name)[1] for name in names if name in written])
    raised = writes @ (rows[token] - rows.mean(0))
    places = [names.index(name) for name in written]
    effect = torch.tensor([ranking.columns["effect"][i] for i in places])
    assert torch.allclose(effect, raised, atol=1e-6)
    assert [ranking.columns["raised where v·x is"][i] for i in places] == [
        "+" if e > 0 else "−" for e in raised
    ]
    assert sum(math.isnan(e) for e in ranking.columns["effect"]) == len(names) - len(written)


def test_of_a_token_with_several_entries_the_mean_counts(tokenizer):
    model = target(vocab_size=len(tokenizer))
    space = workspace(model, decomposed(model, "random"), tokenizer)

    def ranked(token):
        return rank(Asked(token=token), sources(False, opened=lambda: space))

    spelled = [tokenizer.decode([i]) for i in range(len(tokenizer))]
    word = next(w for w in spelled if w.isalpha() and f" {w}" in spelled)
    every, single = ranked(word), ranked(f" {word}")
    assert "2 vocabulary entries" in every.note
    entries = [spelled.index(word), spelled.index(f" {word}")]
    rows = model.lm_head.weight.detach() * model.ln_f.weight.detach()
    i = every.order(1)[0]
    write = space.require_parts().vectors(every.names[i])[1]
    raised = float((rows[entries].mean(0) - rows.mean(0)) @ write)
    assert every.columns["effect"][i] == pytest.approx(raised, abs=1e-6)
    assert every.columns["effect"][i] != pytest.approx(single.columns["effect"][i], abs=1e-6)


def test_gradient_and_its_penalty():
    model = target()
    decomposition = decomposed(model, "random")
    ids = torch.randint(1, 30, (3, 2, 8), generator=torch.Generator().manual_seed(0))
    valid = torch.ones(2, 8, dtype=torch.bool)
    valid[:, 0] = False
    text = {d: Blocks(own, valid) for d, own in zip(SIZES, ids, strict=True)}

    class Read(Workspace):
        def blocks(self, domain, split, tokens, length=None):
            assert (split, tokens) == ("train", 8)
            return text[domain]

    de, en, fr = (scale_gradients(workspace(model, decomposition), b) for b in text.values())
    own = sources(False, opened=lambda: Read(model, NoWords(), None, decomposition))
    assert torch.equal(rank(Asked(of=("de",)), own, "gradient").values, de.abs())
    asked = Asked(of=("de",), against=("en", "fr"), penalty=2.0)
    ranking = rank(asked, own, "gradient")
    assert torch.allclose(ranking.values, de.abs() - en.abs() - fr.abs())
    assert ranking.columns["de"][3] == float(f"{float(de[3]):.3g}")
    plain = rank(Asked(of=("de",), against=("en",)), own, "gradient")
    assert torch.allclose(plain.values, de.abs() - en.abs())


@pytest.mark.parametrize(
    ("asked", "by", "message"),
    [
        (Asked(of=("de",)), "specifity", "unknown criterion 'specifity'.*Nearest: specificity"),
        (Asked(of=("de",)), "contrast", "a ranking by contrast needs --against"),
        (Asked(), "gradient", "needs --of"),
        (Asked(of=("de",), token="der"), "specificity", "--token changes nothing"),
        (Asked(of=("de",), penalty=2.0), "gradient", "--penalty weighs what is done to --against"),
        (Asked(label="german"), None, "needs labels: give --labels"),
        (Asked(of=("dk",)), None, "no importances for 'dk'"),
    ],
)
def test_what_is_missing_or_unused_is_said(asked, by, message):
    with pytest.raises(RankOneError, match=message):
        rank(asked, sources(), by)


def test_output_pmi_needs_a_harvest():
    with pytest.raises(RankOneError, match="needs a harvest: give --harvest"):
        rank(Asked(token="der"), sources(False), "token")


def test_every_criterion_has_a_ranking():
    assert set(CRITERIA) == set(RANKINGS)
