"""Several texts as one."""

from __future__ import annotations

import numpy as np
import pytest

from rankone.core.errors import RankOneError
from rankone.text.corpus import described
from rankone.text.mix import DomainMix
from rankone.text.mixture import mixture_pieces
from rankone.text.opening import open_corpus
from rankone.text.passages import domain_passages


@pytest.fixture
def poems(tmp_path):
    for source, words in (("old", "An old poem."), ("new", "A new poem.")):
        path = tmp_path / "texts" / "poems" / f"{source}.train.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join([words] * 3))
    return tmp_path / "texts"


def test_each_domain_is_read_from_the_text_that_has_it(poems):
    both, builtin = open_corpus(f"builtin,{poems}"), open_corpus("builtin")
    assert both.domains() == [*builtin.domains(), "poems"]
    assert both.documents("de", "test") == builtin.documents("de", "test")
    assert sorted(set(both.documents("poems", "train"))) == ["A new poem.", "An old poem."]
    assert both.fingerprint() not in (builtin.fingerprint(), open_corpus(str(poems)).fingerprint())


def test_sources_are_read_in_turns_and_named(poems):
    """As of the folder alone: half of any beginning is of each source."""
    both = open_corpus(f"builtin, {poems}")
    assert domain_passages(both, "poems", "train", 2)[:2] == ["A new poem.", "An old poem."]
    assert described(both)["sources"] == {"poems": ["new", "old"]}
    assert described(both)["name"] == "builtin,texts"


def test_a_mixture_draws_from_a_source_of_one_of_them(poems):
    mixture = {"poems": DomainMix(weight=1.0, sources=["old"])}
    drawn = mixture_pieces(open_corpus(f"builtin,{poems}"), mixture, 20, np.random.default_rng(0))
    assert set(drawn["poems"]) == {"An old poem."}


def test_two_texts_with_one_domain_are_refused(poems):
    with pytest.raises(RankOneError, match="both have text for 'poems'"):
        open_corpus(f"{poems},{poems}").domains()


def test_a_text_that_is_not_there_is_named(poems):
    with pytest.raises(RankOneError, match=r"'\./nowhere' is not there"):
        open_corpus(f"{poems},./nowhere")


def test_an_empty_name_is_refused_and_no_folder(poems, monkeypatch):
    monkeypatch.chdir(poems)
    for spec in ("", "builtin,", ","):
        with pytest.raises(RankOneError, match="has an empty name in it"):
            open_corpus(spec)


def test_one_that_is_on_the_hub_is_not_looked_up_when_it_is_named():
    assert open_corpus("builtin,hf:nobody/nothing").name == "builtin,nothing"
