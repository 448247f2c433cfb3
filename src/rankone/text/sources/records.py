"""One record of a data set as a document: a text, a conversation, or a prompt with its response."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rankone.core.escaping import half_pair
from rankone.core.files import parse_json
from rankone.text.chats import ASSISTANT, Chat, Turn

TEXT, MESSAGES = "text", ("messages", "conversations")
# Names of the two sides of a pair, as data sets have them.
PROMPTS = ("prompt", "instruction", "question")
RESPONSES = ("response", "completion", "output", "answer")
# What an instruction is about (Alpaca), written below it.
INPUT = "input"
# Speakers of conversations in ShareGPT's form, {"from": …, "value": …}.
_SPEAKERS = {"human": "user", "user": "user", "gpt": ASSISTANT, "assistant": ASSISTANT, "system": "system"}
WANTED = "`text`, `messages`, or a prompt (prompt, instruction, question) and its response (or completion, output, answer)"


def read_record(line: str | bytes) -> str:
    """The document in one line of JSON; ValueError, worded to follow a file and a line number, for what holds none."""
    try:
        row = parse_json(line.decode("utf-8-sig") if isinstance(line, bytes) else line)
    except UnicodeDecodeError as error:
        raise ValueError(f"no UTF-8 ({error.reason} at byte {error.start + 1} of the line)") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at column {error.colno})") from error
    document = record_document(row)
    if problem := half_pair(document):
        raise ValueError(problem)
    return document


def record_document(row: object) -> str:
    """The text of a record, or its conversation as a `Chat`; ValueError where it holds neither."""
    if not isinstance(row, Mapping):
        raise ValueError(f"not a JSON object: an object with {WANTED} is needed")
    if isinstance(row.get(TEXT), str):
        return row[TEXT]
    for name in MESSAGES:
        if isinstance(row.get(name), list):
            return Chat([_turn(message) for message in row[name]])
    prompt, response = (_first(row, names) for names in (PROMPTS, RESPONSES))
    if prompt is None or response is None:
        has = ", ".join(_said(name, value) for name, value in row.items()) or "nothing"
        raise ValueError(f"no document in it: {WANTED} is needed, it has {has}")
    more = row.get(INPUT)
    asked = f"{prompt}\n\n{more}" if isinstance(prompt, str) and isinstance(more, str) and more else prompt
    return Chat([*_side(asked, "user"), *_side(response, ASSISTANT)])


def _said(name: object, value: object) -> str:
    """A field of a record; with what it holds where its name would do and that would not."""
    if name in (TEXT, *PROMPTS, *RESPONSES) and not isinstance(value, str):
        wanted = "a string" if name == TEXT else "a string or messages"
        return str(name) if name != TEXT and isinstance(value, list) else f"{name}, which is not {wanted}"
    return f"{name}, which is not a list" if name in MESSAGES else str(name)


def _first(row: Mapping[str, object], names: Sequence[str]) -> object:
    return next((row[name] for name in names if isinstance(row.get(name), str | list)), None)


def _side(said: object, role: str) -> list[Turn]:
    """One side of a pair: a string, or messages as data sets of preferences have them."""
    return [Turn(role, said)] if isinstance(said, str) else [_turn(m) for m in said]  # pyright: ignore[reportGeneralTypeIssues]


def _turn(message: object) -> Turn:
    if not isinstance(message, Mapping):
        raise ValueError("a message that is not an object with `role` and `content`")
    role = message.get("role") or _SPEAKERS.get(str(message.get("from")))
    content = message.get("content", message.get("value"))
    if isinstance(content, list):
        content = _joined(content)
    if not isinstance(role, str) or not isinstance(content, str):
        has = ", ".join(map(str, message)) or "nothing"
        raise ValueError(f"a message without `role` and `content` as strings; it has {has}")
    return Turn(role, content)


def _joined(parts: Sequence[object]) -> str:
    """Content in parts, as multimodal templates have it: of text alone."""
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a message with parts that are not text (an image, a call): only text is read")
    return "\n".join(map(str, texts))
