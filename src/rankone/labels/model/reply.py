"""From what a server sent to a checked reply: the body, the JSON inside the message, the schema."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from rankone.core.escaping import clipped

R = TypeVar("R", bound="Reply")
# Letters and digits of a key: a shorter piece stands in ordinary text by chance, a shorter key is not a secret.
_PIECE, _SECRET = 6, 12
# Not sent: notes for people, and keywords that some strict modes refuse (pydantic checks them when the reply is here).
_UNSENT = (
    "title",
    "description",
    "default",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
)


class Reply(BaseModel):
    """Base of every reply: nothing but its fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BadReply(Exception):
    """The server answered, but not with what was asked for; worded for a person and for the model."""


def json_schema(kind: type[Reply]) -> dict[str, JsonValue]:
    """The JSON schema to send: types and names, without the keywords that some strict modes refuse."""
    schema = _stripped(kind.model_json_schema())
    assert isinstance(schema, dict)
    return schema


def _stripped(value: JsonValue) -> JsonValue:
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        k: {name: _stripped(v) for name, v in field.items()}
        if k == "properties" and isinstance(field, dict)
        else _stripped(field)
        for k, field in value.items()
        if k not in _UNSENT
    }


def read_body(body: bytes) -> tuple[str, str, tuple[int, int] | None]:
    """Message text, finish reason, and tokens (in, out) if the server reports them, from a chat completion."""
    value = _json(body.decode("utf8", "replace"), "the body")
    try:
        choice = value["choices"][0]
        content = choice["message"]["content"]
        finish = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise BadReply("the body is not a chat completion") from None
    if not isinstance(content, str) or not content.strip():
        raise BadReply(f"the message is empty (finish reason {clipped(finish, 40)})")
    return content, str(finish), usage(value)


def usage(value: JsonValue) -> tuple[int, int] | None:
    """Tokens in and out as a body reports them; None if it does not, or not with whole numbers ≥ 0."""
    reported = value.get("usage") if isinstance(value, dict) else None
    if not isinstance(reported, dict):
        return None
    counts = reported.get("prompt_tokens"), reported.get("completion_tokens")
    if all(type(n) is int and n >= 0 for n in counts):
        return counts  # pyright: ignore[reportReturnType]
    return None


def parse(content: str, kind: type[R]) -> R:
    """The first JSON object of a message, checked; text before and after it (thoughts, fences) is passed over."""
    answer = content.rpartition("</think>")[2]
    start = answer.find("{")
    if start < 0:
        raise BadReply("it holds no JSON object")
    value = _json(answer[start:], "the message")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'object'}: {e['msg']}" for e in error.errors()[:4]
        )
        raise BadReply(f"it does not fit the schema ({clipped(wrong, 200)})") from None


def _json(text: str, what: str) -> Any:
    try:
        return json.JSONDecoder().raw_decode(text.lstrip())[0]
    except (ValueError, RecursionError):
        raise BadReply(f"{what} is not valid JSON") from None


def server_message(body: bytes, key: str | None) -> str:
    """What an error body says: short, inert, without the key, and withheld where it quotes a piece of it."""
    text = body[:4000].decode("utf8", "replace")
    try:
        value = json.loads(text)
        error = value.get("error", value) if isinstance(value, dict) else value
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, RecursionError):
        pass
    text = text.replace(key, "(key)") if key else text
    return "(a message that quotes the key)" if quotes_key(text, key) else clipped(text, 200)


def quotes_key(text: str, key: str | None) -> bool:
    """Whether a piece of the key stands in the text: six letters or digits in a row, spaces and punctuation aside.

    What is shorter than any secret (`ollama`, `EMPTY`) is a word like others.
    """
    plain, secret = _plain(text), _plain(key or "")
    if len(secret) < _SECRET:
        return False
    return any(secret[i : i + _PIECE] in plain for i in range(len(secret) - _PIECE + 1))


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text))
