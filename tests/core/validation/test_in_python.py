"""Options in a text become arguments: those of the fields that are given, with the values that follow them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from rankone.core.errors import RankOneError
from rankone.core.fields import EachOf, Names, Request
from rankone.core.validation.in_python import in_python, worded_for_python


class Asked(Request):
    """A field of each kind that is written in its own way."""

    weight: float = 1.0
    per_site: int | None = None
    as_: Literal["adapter", "stock"] = "stock"
    chat: bool = False
    names: Names = ()
    sources: Annotated[Names, EachOf("source", ("neuron", "two-sided"))] = ()
    out: Path | None = None
    keep: Names = Field(())


class Opened(Request):
    """What an opening takes: one field of its own, and one that Asked has too."""

    harvest: Path | None = None
    labels: Path | None = None
    weight: float = 0.0


@pytest.mark.parametrize(
    ("said", "worded"),
    [
        ("Give a larger --weight.", "Give a larger weight=."),
        ("raise --weight or --per-site", "raise weight= or per_site="),
        ("--weight changes nothing", "weight= changes nothing"),
        ("give --per-site 4 or less", "give per_site=4 or less"),
        ("(--out DIR), or", "(out=DIR), or"),
        ("give --out DIR, --weight N or --chat", "give out=DIR, weight=N or chat=True"),
        ("--chat asks in turns", "chat=True asks in turns"),
        ("write --as adapter.", "write as_='adapter'."),
        ("--as leaves it", "as_= leaves it"),
        ("--names PART,PART,…", "names='PART,PART,…'"),
        ("--names '270' is none", "names='270' is none"),
        ("is for --sources two-sided", "is for sources='two-sided'"),
        ("give --names wandb:me/x/1", "give names='wandb:me/x/1'"),
        ("--keep all, and no other", "keep='all', and no other"),
        ("Take --weight. What then", "Take weight=. What then"),
        ("--weight What then", "weight= What then"),
        ("`--out DIR` does without", "`out=DIR` does without"),
        # what stays
        ("as `rankone harvest --out DIR` makes", "as `rankone harvest --out DIR` makes"),
        ("--wide, --weights and --out-there", "--wide, --weights and --out-there"),
        ("torchrun --nproc-per-node 2, a--weight", "torchrun --nproc-per-node 2, a--weight"),
    ],
)
def test_options_are_arguments(said, worded):
    assert in_python(said, Asked.model_fields) == worded
    assert in_python(worded, Asked.model_fields) == worded


def raised(said, own=Asked):
    with (
        pytest.raises(RankOneError) as error,
        worded_for_python(own.model_fields, Opened.model_fields),
    ):
        raise RankOneError(said)
    return str(error.value)


def test_what_the_opening_takes_is_said_to_be_given_there():
    assert raised("give --harvest DIR.") == "give harvest=DIR. harvest= is given to rankone.open."
    assert raised("with --harvest DIR and --labels DIR (as --harvest)") == (
        "with harvest=DIR and labels=DIR (as harvest=). harvest= and labels= are given to rankone.open."
    )
    assert raised("lower --weight.") == "lower weight=."
    assert raised("give --harvest DIR.", Opened) == "give harvest=DIR."


def test_the_error_keeps_its_class_and_its_cause():
    class Refused(RankOneError):
        pass

    cause = ValueError("x")
    with pytest.raises(Refused, match="lower weight=") as error, worded_for_python(Asked.model_fields, {}):
        raise Refused("lower --weight") from cause
    assert error.value.__cause__ is cause
