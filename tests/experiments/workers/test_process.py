"""The process of a worker reads and answers in UTF-8, whatever the system's encoding is."""

from __future__ import annotations

import io
import json
import sys

from rankone.experiments.workers import process


def test_lines_are_read_as_they_are_sent(monkeypatch):
    sent, out = io.BytesIO("Käse\nα\n".encode()), io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(sent, encoding="cp1252"))
    monkeypatch.setattr(process, "lines_out", lambda: out)
    monkeypatch.setattr(process, "answered", lambda setup, line: setup + line)
    process.main()
    assert json.loads(out.getvalue()) == {"made": "Käse\nα\n"}
