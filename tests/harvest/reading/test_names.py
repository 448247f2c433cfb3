"""What names stand for."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.harvest.reading.names import expand


class Two:
    """A clustering of two components."""

    def members(self, name):
        found = {"c0": ["a:0", "a:1"], "c1": ["b:0"]}
        if name not in found:
            raise RankOneError(f"no component '{name}'.")
        return found[name]


def known(name):
    if not name.startswith("a:"):
        raise RankOneError(f"unknown subcomponent '{name}'.")


def test_components_and_subcomponents():
    assert expand(["c0", "a:4"], Two(), known) == {"c0": ["a:0", "a:1"], "a:4": ["a:4"]}
    assert expand(["a:1"], None, known) == {"a:1": ["a:1"]}


@pytest.mark.parametrize(
    ("names", "clustering", "said"),
    [
        (["c2"], None, "'c2' names a component: say of which clustering, with --clusters DIR"),
        (["c9"], Two(), "no component 'c9'"),
        (["d1"], Two(), "no component 'd1'"),
        (["d1"], None, "unknown subcomponent 'd1'"),
        (["x:1"], Two(), "unknown subcomponent 'x:1'"),
        (["c1", "c1"], Two(), "'c1' is given twice"),
        (["a:1", "a:1"], None, "'a:1' is given twice"),
    ],
)
def test_what_stands_for_nothing(names, clustering, said):
    with pytest.raises(RankOneError, match=said):
        expand(names, clustering, known)


def test_names_with_a_plus_share_one_scale():
    seen = []
    assert expand(["a:1+b:2", "c:3"], None, seen.append) == {"a:1+b:2": ["a:1", "b:2"], "c:3": ["c:3"]}
    assert seen == ["a:1", "b:2", "c:3"]


def test_a_query_of_labels_stands_for_what_has_the_words():
    found = {"german": ["a:3", "c0"], "none": ["b:9"]}.__getitem__
    assert expand(["label:german", "a:4"], Two(), known, found) == {
        "label:german": ["a:3", "a:0", "a:1"],
        "a:4": ["a:4"],
    }
    with pytest.raises(RankOneError, match="unknown subcomponent 'b:9'"):
        expand(["label:none"], Two(), known, found)
    with pytest.raises(
        RankOneError, match=r"'label:german' stands for parts by their labels: .* --labels DIR"
    ):
        expand(["label:german"], Two(), known)
