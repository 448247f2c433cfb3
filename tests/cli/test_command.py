"""Commands made from verbs: options, lists, JSON, help, what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from rankone.cli.command import command_of
from rankone.core.errors import RankOneError
from rankone.core.fields import Names, Positional, Request, ScalesByName
from rankone.models.sources.names import ASSETS
from rankone.opening import Opening
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.verbs.verb import Verb


class Asked(Request):
    """What is asked."""

    word: Annotated[str, Positional()] = Field(description="a word")
    names: Names = Field((), description="names")
    sizes: tuple[float, ...] = Field((1, 2.5), description="sizes")
    kind: Literal["a", "b"] = Field("a", description="kind")
    deep: bool = Field(False, description="deeper")
    top_rows: int | None = Field(None, description="rows")
    out: Path | None = Field(None, description="place")


class Answer(Reply):
    """What is answered."""

    asked: dict[str, object]
    model: str

    def tables(self) -> Sequence[Table]:
        return (Table.of("Answer", ["key", "value"], [[k, str(v)] for k, v in self.asked.items()]),)

    def lines(self) -> Sequence[str]:
        return ("that is \x1b[2J all",)


def answer(opening: Opening, request: Asked) -> Answer:
    """Answer with what was asked.

    More.
    """
    return Answer(asked=request.model_dump(mode="json"), model=opening.options.model)


VERB = Verb("answer", Asked, Answer, answer, ("model",), writes=("out",))


def run(*words: str):
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command("answer")(command_of(VERB))
    return CliRunner().invoke(app, list(words))


def asked(*words: str) -> dict:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_defaults_are_the_requests():
    found = asked("w")
    assert found["model"] == "mini"
    assert found["asked"] == {**Asked(word="w").model_dump(mode="json")}


def test_options_reach_the_request():
    words = [
        "w",
        "--names",
        "a,b",
        "--names",
        "c",
        "--sizes",
        "-1,.5",
        "--kind",
        "b",
        "--deep",
        "--top-rows",
        "3",
    ]
    found = asked(*words, "--model", str(ASSETS / "mini"))
    assert found["model"] == str(ASSETS / "mini")
    assert found["asked"] == {
        "word": "w",
        "names": ["a", "b", "c"],
        "sizes": [-1.0, 0.5],
        "kind": "b",
        "deep": True,
        "top_rows": 3,
        "out": None,
    }


def test_a_reply_is_tables_and_lines_and_no_control_codes():
    done = run("w")
    assert "Answer" in done.stdout
    assert "that is \\x1b[2J all" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("w", "--kind", "c"), "answer: unknown kind 'c'; choose 'a' or 'b'"),
        (("w", "--sizes", "1,x"), "answer: sizes.1: must be a valid number"),
        (("w", "--out", "."), "exists"),
    ],
)
def test_wrong_values_are_refused(words, said):
    done = run(*words)
    assert isinstance(done.exception, RankOneError)
    with pytest.raises(RankOneError, match=said):
        raise done.exception


def test_help_says_what_is_what():
    said = run("--help").stdout
    assert "Answer with what was asked." in said
    for word in ("a|b", "A,B,…", "--top-rows", "--json", "--quiet", "built-in name (mini)"):
        assert word in said
    plain = " ".join(said.split())
    assert "sizes [default: 1,2.5]" in plain
    assert "names [default" not in plain


def test_a_mapping_is_given_as_words():
    class Turned(Request):
        scales: Annotated[ScalesByName, Positional()] = Field(description="scales")

    def turn(opening: Opening, request: Turned) -> Answer:
        """Turn."""
        return Answer(asked=dict(request.scales), model="")

    app = typer.Typer(rich_markup_mode=None)
    app.command("turn")(command_of(Verb("turn", Turned, Answer, turn)))
    done = CliRunner().invoke(app, ["a:1=-16", "b:2=0", "--json"])
    assert json.loads(done.stdout)["asked"] == {"a:1": -16.0, "b:2": 0.0}
