"""axe-core on a page in headless Chromium.

Needs a browser (`chromium`), which `.ci/run` installs where it is missing; axe-core itself comes with axe-playwright-python.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import axe_playwright_python
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
# `.ci/run` sets it: there a missing browser fails the tests of pages.
NEEDED = "RANKONE_NEEDS_BROWSER"
needed = pytest.mark.skipif(CHROMIUM is None and NEEDED not in os.environ, reason="needs chromium")
RUN = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  const bad = found.violations.filter(v => v.impact === "serious" || v.impact === "critical");
  return {
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    bad: bad.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 120))])};
}"""


class Axe:
    """axe-core in one Chromium, in a thread of its own: Playwright leaves a running loop in the thread that starts it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._playwright, self._browser = self._thread.submit(_started).result()

    def serious(self, source: str, dark: bool) -> dict:
        """What axe says of a page whose every part is open. The page itself runs no script, so its policy goes."""
        return self._thread.submit(self._asked, source, dark).result()

    def _asked(self, source: str, dark: bool) -> dict:
        source = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", source, count=1)
        context = self._browser.new_context(color_scheme="dark" if dark else "light", offline=True)
        page = context.new_page()
        page.set_content(source.replace("<details", "<details open"))
        page.add_script_tag(path=AXE)
        said = page.evaluate(RUN)
        context.close()
        return said

    def close(self) -> None:
        """End it."""
        self._thread.submit(self._browser.close).result()
        self._thread.submit(self._playwright.stop).result()
        self._thread.shutdown()


def _started() -> tuple[Playwright, Browser]:
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    return playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def printed_pages(source: str, folder: Path) -> int:
    """Pages (Letter, shorter than A4) that a page prints without its appendix."""
    page, pdf = folder / "print.html", folder / "print.pdf"
    page.write_text(source.replace("</style>", ".appendix { display: none; }</style>", 1), "utf8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--no-pdf-header-footer"]
    subprocess.run(
        [*command, f"--print-to-pdf={pdf}", page.as_uri()], capture_output=True, timeout=300, check=True
    )
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))
