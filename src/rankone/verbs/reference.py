"""The reference of all verbs, made from the table: `python -m rankone.verbs.reference > docs/api.md`."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

from pydantic_core import PydanticUndefined

from rankone.core.fields import Positional
from rankone.opening import OpenOptions
from rankone.verbs.table import VERBS
from rankone.verbs.verb import Verb

HEAD = """# Verbs

Each verb is a command of `rankone` and a method of the session that `rankone.open` gives; both take the same words and
answer with the same reply, which `--json` prints. This page is made from the table of verbs (`src/rankone/verbs/`):
`python -m rankone.verbs.reference > docs/api.md`.

What the verbs work on is opened once; in Python by `rankone.open(model, decomposition=…, text=…)`, on the command line by
options of the same names:

| option | default | what |
|---|---|---|
"""


def reference() -> str:
    """The whole page as Markdown."""
    opened = [
        _row(name, field.description, field.default) for name, field in OpenOptions.model_fields.items()
    ]
    return "\n".join([HEAD + "\n".join(opened), *map(_verb, VERBS.values())]) + "\n"


def _verb(verb: Verb[Any, Any]) -> str:
    doc = inspect.getdoc(verb.run) or ""
    rows = []
    for name, field in verb.request.model_fields.items():
        placed = any(isinstance(mark, Positional) for mark in field.metadata)
        required = field.default is PydanticUndefined
        shown = "must be given" if required else field.default
        rows.append(_row(name, (field.description or "") + (" (by its place)" if placed else ""), shown))
    opens = f"\nWorks on: {', '.join(verb.opens)}.\n" if verb.opens else ""
    reply = (inspect.getdoc(verb.reply) or "").split("\n\n")[0].replace("\n", " ")
    fields = ", ".join(f"`{name}`" for name in verb.reply.model_fields)
    table = "\n".join(["| field | default | what |", "|---|---|---|", *rows])
    return f"\n## {verb.name}\n\n{doc}\n{opens}\n{table}\n\nReply: {reply} Fields: {fields}."


def _row(name: str, said: str | None, default: object) -> str:
    shown = "" if default in (None, ()) else f"{default}"
    return f"| {name.rstrip('_')} | {shown} | {re.sub(r'[|]', '/', said or '')} |"


if __name__ == "__main__":
    sys.stdout.write(reference())
