"""The ranges of what a rewriting may be asked, ends included where they mean something."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.edits.rewriting.requests import RewriteReply, RewriteRequest, WriteEffect


def asked(**values):
    return RewriteRequest.checked(
        {"part": "neuron/h.0.mlp.down_proj:3", "token": " the", **values}, "rewrite"
    )


# What says nothing alone, and with what it does.
WITH = {"weight": {"train": 1}, "seed": {"train": 1}}


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("aim", (0.001, 0.999), (0, 1)),
        ("fires", (0.001, 0.999), (0, 1)),
        ("train", (0, 1), (-1,)),
        ("weight", (0, 0.5), (-0.5,)),
        ("seed", (0, 1), (-1,)),
        ("tokens", (1,), (0,)),
        ("sizes", ((1,),), ((),)),
    ],
)
def test_ranges(name, taken, refused):
    for value in taken:
        assert getattr(asked(**{name: value, **WITH.get(name, {})}), name) == value
    for value in refused:
        with pytest.raises(RankOneError, match=name):
            asked(**{name: value, **WITH.get(name, {})})


def test_an_aim_and_sizes_are_given_where_nothing_is_said():
    """Half the probability, by doubling from half the length of the old vector."""
    made = asked()
    assert made.aim == 0.5
    assert made.sizes == (0.5, 1, 2, 4, 8)
    assert made.weight == 1


def effect(size, probability):
    return WriteEffect(size=size, probability=probability, kl_firing=0.5, kl_near=None, kl_other=0.25)


def replied(**changes):
    tried = (effect(1, 0.1), effect(2, 0.6), effect(4, 0.9))
    given = {"part": "p:1", "token": " the", "sign": -1, "before": 0.01, "firings": 7, "domains": ()}
    outcome = {"tried": tried, "taken": tried[1], "met": True, "held_out": effect(2, 0.4)}
    found = {"direction": "unembedding", "cosine": 0.75, "raised": 0.5}
    return RewriteReply(**given | outcome | found | changes)


def test_the_vector_that_is_taken_stands_out_and_the_held_out_row_is_last():
    table = replied().tables()[0]
    assert table.strong == {1}
    assert [row[0] for row in table.rows] == ["1", "2", "4", "held out"]
    assert table.column("probability") == [0.1, 0.6, 0.9, 0.4]
    assert "7 positions, v·x negative" in table.caption
    assert (
        "cosine 0.75 with the model's own derivative, raises the token at 50% of positions" in table.caption
    )
    trained = replied(
        direction="trained", tried=(effect(None, 0.6),), taken=effect(None, 0.6), sign=1
    ).tables()[0]
    assert trained.rows[0][0] == "trained"
    assert "v·x positive" in trained.caption
    assert trained.caption.endswith("write vector trained")


def test_an_aim_that_is_not_met_is_said(tmp_path):
    assert replied().lines() == []
    (line,) = replied(met=False).lines()
    assert "not met by any size" in line
    assert replied(met=False, direction="trained").lines() == ["The aim was not met by the trained vector."]
    assert replied(saved=tmp_path).lines() == [f"saved {tmp_path}"]
