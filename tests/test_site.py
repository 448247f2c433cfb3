"""The site builds without a warning: every page is in it, every link and anchor leads somewhere; nothing is fetched."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_every_page_is_there(site):
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} | {"index", "changelog", "security"}
    assert pages <= {path.stem for path in site.glob("*.html")}


def test_links_lead_to_pages_and_broken_ones_stay():
    spec = importlib.util.spec_from_file_location("pages", ROOT / "site" / "pages.py")
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    docs = Path("docs")
    assert pages.relinked("[a](../SECURITY.md#x)", docs) == "[a](security.md#x)"
    assert pages.relinked("[a](docs/find.md)", Path()) == "[a](find.md)"
    assert pages.relinked("[a](../perf/README.md)", docs) == "a (`perf/README.md`)"
    assert pages.relinked("[a](nowhere.md)", docs) == "[a](nowhere.md)"


def test_the_reference_has_the_docstrings(site):
    said = (site / "reference.html").read_text("utf8")
    assert "An immutable low-rank change of some sites" in said


def test_a_reader_fetches_nothing_from_elsewhere(site):
    pattern = re.compile(r"<(?:script|img|link)[^>]+(?:src|href)=\"?(https?://[^\"> ]+)")
    fetched = {
        url
        for page in site.glob("*.html")
        for url in pattern.findall(page.read_text("utf8"))
        if "canonical" not in url
    }
    assert fetched == set()
