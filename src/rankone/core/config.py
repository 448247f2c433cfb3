"""Frozen pydantic models: configurations, read from YAML, and records of what was measured; an unknown key is an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import yaml
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from rankone.core.errors import RankOneError
from rankone.core.files import read_text, write_json
from rankone.core.validation.complaints import first_causes, refusal
from rankone.core.validation.leniency import misread

# Bytes, and brackets in brackets, of a recipe: far above any, and what a scanner of n² steps reads in a moment.
_LARGEST, _DEEPEST = 1 << 20, 50
# What a plain word must look like to be of a type, and the characters it may begin with.
_NARROWED = {
    "tag:yaml.org,2002:bool": (r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "tag:yaml.org,2002:int": (r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9]+)(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$",
        "-+0123456789.",
    ),
}


class _OnceLoader(yaml.SafeLoader):
    """Safe YAML in which a key that stands twice is an error, not the last one's, and nesting has an end.

    Plain words and numbers as YAML 1.2 reads them: `no` is a language and not false, 010 is ten, 1:40 no number.
    """

    _depth = 0
    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NARROWED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """A node with all below it; RecursionError, long before Python's own, where it nests too deep."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise RecursionError
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, its keys checked; merged ones (<<) may be overridden."""
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, (_pattern, _firsts) in _NARROWED.items():
    _OnceLoader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType]
        _tag, re.compile(_pattern), list(_firsts)
    )


class Config(BaseModel):
    """Base of every configuration: immutable; unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @classmethod
    def from_yaml(cls, path: Path | str, **overrides: object) -> Self:
        """Read a recipe; keyword overrides that are not None replace its top-level keys."""
        values = cls.yaml_values(path)
        values.update({k: v for k, v in overrides.items() if v is not None})
        return cls.checked(values, str(path))

    @staticmethod
    def yaml_values(path: Path | str) -> dict[str, object]:
        """The `key: value` pairs of a recipe, not yet checked; RankOneError for a file that holds none."""
        path = Path(path)
        try:
            values: object = yaml.load(read_text(path, _LARGEST), _OnceLoader) or {}
        except FileNotFoundError:
            raise RankOneError(f"no recipe at '{path}'. Check the path.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise RankOneError(
                f"cannot read the recipe '{path}' ({error}). It must be YAML in UTF-8."
            ) from error
        except yaml.YAMLError as error:
            said = " ".join(str(error).split())
            raise RankOneError(f"recipe '{path}' is not valid YAML: {said}. Mend the file.") from error
        except (ValueError, RecursionError, TypeError) as error:
            said = "it nests too deep" if isinstance(error, RecursionError) else str(error)
            raise RankOneError(f"recipe '{path}' cannot be read: {said}. Mend the file.") from error
        if not isinstance(values, dict):
            raise RankOneError(
                f"recipe '{path}' holds no `key: value` pairs at its top level. Check the file."
            )
        return cast("dict[str, object]", values)

    @classmethod
    def checked(cls, values: object, where: str) -> Self:
        """Validate `values`; errors name the field, the value and the place they came from."""
        try:
            made = cls.model_validate(values)
        except ValidationError as error:
            causes = first_causes(error.errors(), values)
            raise refusal(where, causes, list(cls.model_fields)) from error
        if causes := list(misread(values, made)):
            raise refusal(where, causes, list(cls.model_fields))
        return made


class Record(Config):
    """Base of what is measured and saved; unlike a recipe it may hold infinities: a run that failed is told as it is."""

    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="constants")

    def plain(self) -> dict[str, JsonValue]:
        """Its values as JSON holds them."""
        return self.model_dump(mode="json")

    def written_to(self, path: Path | None) -> Self:
        """Itself, written as JSON to `path` too, where one is named; RankOneError where something stands there."""
        if path is not None:
            write_json(path, self.plain(), new=True, constants=True)
        return self
