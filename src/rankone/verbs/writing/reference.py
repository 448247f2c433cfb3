"""The reference of all verbs, made from the table: `make api`."""

from __future__ import annotations

import inspect
import re
import sys
from typing import cast

from rankone.core.fields import Request
from rankone.opening import OpenOptions
from rankone.render.reply import Reply
from rankone.verbs.table import VERBS
from rankone.verbs.verb import Verb, is_placed

HEAD = """# Verbs

Each verb is a command of `rankone` and a method of a session, which `rankone.open` makes; both take the same options and
give the same reply, which `--json` prints. This page is generated from the table of verbs (`src/rankone/verbs/`) by
`make api`.

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


def _verb(verb: Verb[Request, Reply]) -> str:
    doc = inspect.getdoc(verb.run) or ""
    rows: list[str] = []
    for name, field in verb.options().items():
        said = (field.description or "") + (" (by its place)" if is_placed(field) else "")
        rows.append(_row(name, said, "must be given" if field.is_required() else field.default))
    said = [*([f"Works on: {', '.join(verb.opens)}."] if verb.opens else []), *verb.lacking()]
    reply = (inspect.getdoc(verb.reply) or "").split("\n\n")[0].replace("\n", " ")
    fields = ", ".join(f"`{name}`" for name in verb.reply.model_fields)
    table = "\n".join(["| field | default | what |", "|---|---|---|", *rows])
    return f"\n## {verb.name}\n\n{doc}\n\n{' '.join(said)}\n\n{table}\n\nReply: {reply} Fields: {fields}."


def _row(name: str, said: str | None, default: object) -> str:
    shown = "" if default is None else f"{default}"
    if isinstance(default, tuple):
        shown = ",".join(map(str, cast("tuple[object, ...]", default)))
    return f"| {name.rstrip('_')} | {shown} | {re.sub(r'[|]', '/', said or '')} |"


if __name__ == "__main__":
    sys.stdout.write(reference())
