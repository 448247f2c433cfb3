"""The page's types, written from the models of what the routes take and answer: `make api`.

`tsc` checks the page's JavaScript against them (tests/studio/test_types.py); nothing of it is shipped or run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from rankone.studio.types.routes import GETS, POSTS, STREAMS, Posted
from rankone.studio.views.server import Refused

HEAD = """// What the studio's server takes and answers; made from its models (`make api`), not by hand.
// A name in Gets, Posts and Streams is a route's; {} in one stands for an id.
declare namespace Api {
"""
Schema: TypeAlias = Mapping[str, object]
_PLAIN = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}


def declarations() -> str:
    """The whole file."""
    posted = [*POSTS.values(), *STREAMS.values()]
    answers = {*GETS.values(), Refused, *(model for one in posted for model in one.answers)}
    interfaces = _interfaces({one.body for one in posted}, "validation")
    interfaces |= _interfaces(answers, "serialization")
    said = [interfaces[name] for name in sorted(interfaces)]
    said.append(_routes("Gets", {path: model.__name__ for path, model in GETS.items()}))
    said.append(_routes("Posts", {path: _posted(one, "answer") for path, one in POSTS.items()}))
    said.append(_routes("Streams", {path: _posted(one, "partial") for path, one in STREAMS.items()}))
    return HEAD + "\n".join(said) + "}\n"


def _interfaces(
    models: Iterable[type[BaseModel]], mode: Literal["validation", "serialization"]
) -> dict[str, str]:
    """By name, those of the models and of all that they hold."""
    asked = sorted(models, key=lambda model: model.__name__)
    _, schema = models_json_schema([(model, mode) for model in asked])
    whole = mode == "serialization"  # of what is sent nothing is left out, defaults neither
    defined = cast("Mapping[str, Schema]", schema["$defs"])
    return {name: _interface(name, body, whole) for name, body in defined.items()}


def _interface(name: str, body: Schema, whole: bool) -> str:
    said = str(body.get("description", "")).split("\n")[0]
    comment = f"  /** {said} */\n" if said else ""
    if "properties" not in body:
        return f"{comment}  type {name} = {_type(body)};\n"
    required = cast("list[str]", body.get("required", []))
    properties = cast("Mapping[str, Schema]", body["properties"])
    lines = [
        f"    {field}{'' if whole or field in required else '?'}: {_type(of)};\n"
        for field, of in properties.items()
    ]
    return f"{comment}  interface {name} {{\n{''.join(lines)}  }}\n"


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(map(_type, _schemas(schema["anyOf"]))))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(map(json.dumps, cast("list[object]", schema["enum"])))
    kind = schema.get("type")
    if kind == "array":
        return _list(schema)
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"Record<string, {_type(cast('Schema', values)) if isinstance(values, dict) else 'unknown'}>"
    return _PLAIN.get(str(kind), "unknown")


def _list(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(map(_type, _schemas(schema['prefixItems'])))}]"
    item = _type(cast("Schema", schema.get("items", {})))
    return f"({item})[]" if "|" in item else f"{item}[]"


def _schemas(given: object) -> list[Schema]:
    return cast("list[Schema]", given)


def _posted(one: Posted, answer: str) -> str:
    return f"{{ body: {one.body.__name__}; {answer}: {' | '.join(model.__name__ for model in one.answers)} }}"


def _routes(name: str, types: Mapping[str, str]) -> str:
    lines = [f"    {_key(path)}: {of};\n" for path, of in types.items()]
    return f"  interface {name} {{\n{''.join(lines)}  }}\n"


def _key(path: str) -> str:
    return f"[path: `{path.replace('{}', '${string}')}`]" if "{}" in path else f'"{path}"'


if __name__ == "__main__":
    sys.stdout.write(declarations())
