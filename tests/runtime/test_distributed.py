"""Several processes: sums, shares, what the first one does for all, and one error for all."""

from __future__ import annotations

import pytest
import torch
from tests.processes import Failed, together

from rankone.core.errors import RankOneError
from rankone.runtime.distributed import Ranks, current, joined
from rankone.runtime.progress import console


def words(ranks):
    done = []

    def work():
        done.append(ranks.rank)
        return {"from": ranks.rank}

    return {
        "same": current() is ranks,
        "sum": ranks.sum_(torch.tensor([1.0, float(ranks.rank)])).tolist(),
        "max": ranks.max_(torch.tensor([float(ranks.rank), -float(ranks.rank)])).tolist(),
        "any": [ranks.any(torch.tensor([ranks.rank == 1])), ranks.any(torch.tensor([False]))],
        "broadcast": ranks.broadcast_(torch.tensor([float(ranks.rank)])).tolist(),
        "first": [ranks.on_first(work), ranks.on_first(work)],
        "worked": len(done),
        "share": [ranks.share(5).start, ranks.share(5).stop],
        "quiet": console.quiet,
    }


def test_two_processes_add_up_and_the_first_works_for_both():
    first, second = together(2, words)
    shared = {
        "same": True,
        "sum": [2.0, 1.0],
        "max": [1.0, 0.0],
        "any": [True, False],
        "broadcast": [0.0],
        "first": [{"from": 0}, {"from": 0}],
    }
    assert first == shared | {"worked": 2, "share": [0, 2], "quiet": False}
    assert second == shared | {"worked": 0, "share": [2, 5], "quiet": True}


def test_alone_every_method_is_a_plain_answer():
    with joined(size=1, rank=0) as ranks:
        found = words(ranks)
    assert found["sum"] == [1.0, 0.0]
    assert found["first"] == [{"from": 0}] * 2
    assert found["share"] == [0, 5]
    assert not found["quiet"]
    ranks.barrier()
    assert isinstance(current(), Ranks)


def first_fails_at_its_work(ranks):
    def work():
        raise RankOneError("no such text 'x'. Check the path.")

    ranks.on_first(work)


def second_fails_before_a_sum(ranks):
    if ranks.rank == 1:
        raise RankOneError("out of memory. Lower rows.")
    ranks.sum_(torch.ones(1))


def first_has_a_bug(ranks):
    if ranks.first:
        raise KeyError("lost")
    ranks.barrier()


@pytest.mark.parametrize(
    ("function", "told", "whose"),
    [
        (first_fails_at_its_work, "RankOneError: no such text 'x'", 0),
        (second_fails_before_a_sum, "RankOneError: out of memory. Lower rows.", 1),
        (first_has_a_bug, "KeyError: 'lost'", 0),
    ],
)
def test_an_error_of_one_is_the_error_of_all(function, told, whose):
    with pytest.raises(Failed) as caught:
        together(2, function)
    parts = str(caught.value).split("process ")[1:]
    by_rank = {part[0]: part for part in parts}
    assert told in by_rank[str(whose)]
    assert "PeerError" not in by_rank[str(whose)]
    other = by_rank[str(1 - whose)]
    assert f"PeerError: {told.removeprefix('RankOneError: ')}" in other
