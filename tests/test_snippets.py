"""The Python of the documents runs, as it is printed; exports are verified in this process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = [(path.name, code) for path in DOCUMENTS for code in FENCE.findall(path.read_text("utf8"))]


def test_the_readme_shows_python():
    assert any(name == "README.md" for name, _ in SNIPPETS)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("document", "code"), SNIPPETS, ids=[name for name, _ in SNIPPETS])
def test_a_snippet_runs(document, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, document, "exec"), {})
