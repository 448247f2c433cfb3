"""Recipes: read from YAML, immutable, and wrong keys or values are named."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest
from rankone.core.fields import Request


class Inner(Config):
    rate: float = Field(gt=0)


class Outer(Config):
    steps: int = 3
    inner: Inner = Inner(rate=1.0)


Counts = Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)]


class Small(Config):
    kind: Literal["small"] = "small"
    size: int


class Large(Config):
    kind: Literal["large"] = "large"
    sizes: dict[str, int]


class EitherWay(Config):
    counts: Counts | dict[str, Counts] = (1,)
    only: bool | Literal["only"] = True
    kinds: list[Annotated[Small | Large, Field(discriminator="kind")]] = Field(default_factory=list)


@pytest.fixture
def recipe(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, "utf8")
        return path

    return write


def test_yaml_values_and_defaults(recipe):
    assert Outer.from_yaml(recipe("inner: {rate: 0.5}\n")) == Outer(steps=3, inner=Inner(rate=0.5))


def test_an_empty_recipe_is_all_defaults(recipe):
    assert Outer.from_yaml(recipe("")) == Outer()


def test_overrides_win_unless_none(recipe):
    path = recipe("steps: 5\n")
    assert Outer.from_yaml(path, steps=7).steps == 7
    assert Outer.from_yaml(path, steps=None).steps == 5


def test_unknown_key_is_named_with_its_place_and_value(recipe):
    path = recipe("stepz: 5\n")
    with pytest.raises(RankOneError, match=rf"^{path}: unknown key stepz \(got 5\)\. Nearest: steps\.$"):
        Outer.from_yaml(path)


def test_nested_errors_are_all_named(recipe):
    with pytest.raises(RankOneError, match=r"inner\.rate: .*greater than 0 \(got -1\)") as caught:
        Outer.from_yaml(recipe("steps: many\ninner: {rate: -1}\n"))
    assert "steps: " in str(caught.value)
    assert "(got 'many')" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"counts": 4}, "counts: must be a list, or `key: value` pairs (got 4)"),
        ({"counts": [4, 0]}, "counts.1: must be greater than 0 (got 0)"),
        (
            {"counts": ["a", 0]},
            "counts.0: must be a valid integer (got 'a'); counts.1: must be greater than 0 (got 0)",
        ),
        ({"counts": []}, "counts: must have at least 1 item (got [])"),
        ({"counts": {"a": [1], "b": 2}}, "counts.b: must be a list (got 2)"),
        ({"counts": {"a": [1, "x"]}}, "counts.a.1: must be a valid integer (got 'x')"),
        ({"only": "onyl"}, "only: must be true or false, or 'only' (got 'onyl')"),
        ({"only": [True]}, "only: must be true or false, or 'only' (got [True])"),
        ({"kinds": [{"kind": "small"}]}, "kinds.0.size is missing"),
        ({"kinds": [{"kind": "large", "sizes": 3}]}, "kinds.0.sizes: must be `key: value` pairs (got 3)"),
        ({"kinds": [{"kind": "small", "size": 1, "sizes": {}}]}, "unknown key kinds.0.sizes (got {})"),
        ({"kinds": [{"kind": "tiny"}]}, "unknown kinds.0.kind 'tiny'; choose 'small', 'large'"),
    ],
)
def test_a_value_that_may_be_read_in_several_ways_is_told_of_by_its_place_alone(values, said):
    """Those of the way that goes furthest, in words of a recipe; what pydantic calls the ways stands nowhere."""
    with pytest.raises(RankOneError) as caught:
        EitherWay.checked(values, "r.yaml")
    assert str(caught.value) == f"r.yaml: {said}"


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_nan_and_infinity_are_refused(recipe, value):
    with pytest.raises(RankOneError, match=r"inner\.rate: .*\(got -?(nan|inf)\)"):
        Outer.from_yaml(recipe(f"inner: {{rate: {value}}}\n"))


def test_long_values_are_cut(recipe):
    with pytest.raises(RankOneError) as caught:
        Outer.from_yaml(recipe(f"steps: {'x' * 5000}\n"))
    assert len(str(caught.value)) < 500


def test_a_recipe_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("bytes.yaml", "folder.yaml"):
        with pytest.raises(RankOneError, match=rf"cannot read the recipe '.*{name}' .*YAML in UTF-8"):
            Outer.from_yaml(tmp_path / name)


def test_unknown_override_is_refused(recipe):
    with pytest.raises(RankOneError, match=r"unknown key setps \(got 4\)"):
        Outer.from_yaml(recipe(""), setps=4)


def test_missing_recipe(tmp_path):
    with pytest.raises(RankOneError, match=r"no recipe at '.*none\.yaml'\. Check the path"):
        Outer.from_yaml(tmp_path / "none.yaml")


def test_broken_yaml(recipe):
    with pytest.raises(RankOneError, match=r"recipe '.*recipe\.yaml' is not valid YAML"):
        Outer.from_yaml(recipe("steps: [1\n"))


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "3\n"])
def test_yaml_that_is_no_mapping(recipe, text):
    with pytest.raises(RankOneError, match=r"recipe '.*recipe\.yaml' holds no `key: value` pairs"):
        Outer.from_yaml(recipe(text))


def test_configs_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Outer().steps = 4  # pyright: ignore[reportAttributeAccessIssue]


def test_nearest_names():
    assert nearest("germn", ["german", "french"]) == " Nearest: german."
    assert nearest("zzz", ["german", "french"]) == ""


def test_whole_numbers_are_of_a_size_that_can_be_counted():
    class Asked(Request):
        steps: int = 3

    with pytest.raises(RankOneError, match=r"steps: is past 2\^63"):
        Asked.checked({"steps": 10**30}, "verb")
    assert Asked.checked({"steps": 2**63 - 1}, "verb").steps == 2**63 - 1


def test_a_recipe_has_an_end(tmp_path):
    """Nesting, many keys and devices took minutes, or all memory."""
    path, begun = tmp_path / "r.yaml", time.process_time()
    keys = "".join(f"k{i}: 1\n" for i in range(20_000))
    said = {"{" * 100_000: "nests too deep", "a: " + "[" * 60: "nests too deep", keys: "and 19996 more"}
    for content, words in said.items():
        path.write_text(content, "utf8")
        with pytest.raises(RankOneError, match=words):
            Outer.from_yaml(path)
    os.mkfifo(tmp_path / "pipe.yaml")
    for endless in (Path("/dev/zero"), tmp_path / "pipe.yaml"):
        with pytest.raises(
            RankOneError, match=f"'{endless}' cannot be read: it is not a regular file but a pipe"
        ):
            Outer.from_yaml(endless)
    (tmp_path / "long.yaml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(RankOneError, match=r"long\.yaml' cannot be read: it has over 1 MiB"):
        Outer.from_yaml(tmp_path / "long.yaml")
    assert time.process_time() - begun < 15
