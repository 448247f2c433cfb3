"""Printing replies: tables and lines for people on stdout, JSON for programs."""

from __future__ import annotations

import io
import os
from typing import TextIO

from rankone.core.escaping import visible
from rankone.render.reply import Reply
from rankone.runtime.progress import console as output


def say(reply: Reply) -> None:
    """Print what a person reads."""
    for part in (*reply.above(), *reply.tables()):
        output.print(part)
    for line in reply.lines():
        output.print(visible(line), markup=False, soft_wrap=True)


def say_json(reply: Reply) -> None:
    """Print the reply as JSON, by its schema."""
    output.print(reply.model_dump_json(indent=2), markup=False, soft_wrap=True)


def write_all_characters(stream: TextIO) -> None:
    """Pipes and files get UTF-8, whatever the system writes by itself (Windows: a code page without α), unless
    PYTHONIOENCODING says otherwise; what the encoding of a terminal lacks becomes '?'.
    """
    if isinstance(stream, io.TextIOWrapper):
        settled = stream.isatty() or "PYTHONIOENCODING" in os.environ
        stream.reconfigure(encoding=None if settled else "utf8", errors="replace")
