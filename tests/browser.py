"""axe-core on a page in headless Chromium.

Needs a browser (`chromium`), which `.ci/run` installs where it is missing; axe-core itself comes with axe-playwright-python.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import axe_playwright_python
import pytest

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
# `.ci/run` sets it: there a missing browser fails the tests of pages.
NEEDED = "RANKONE_NEEDS_BROWSER"
needed = pytest.mark.skipif(CHROMIUM is None and NEEDED not in os.environ, reason="needs chromium")
RUN = """<script>
axe.run(document, {resultTypes: ["violations"]}).then(found => {
  const bad = found.violations.filter(v => v.impact === "serious" || v.impact === "critical");
  document.body.textContent = "AXE" + JSON.stringify({
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    bad: bad.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 120))])}) + "EXA";
});
</script>"""


def serious(source: str, folder: Path, dark: bool) -> dict:
    """What axe says of a page whose every part is open. The page itself runs no script, so its policy goes."""
    source = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", source, count=1)
    source = source.replace("<details", "<details open")
    script = f"<script>{AXE.read_text('utf8')}</script>{RUN}"
    page = folder / "page.html"
    page.write_text(source.replace("</body>", f"{script}</body>"), "utf8")
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    command = [
        CHROMIUM,
        *FLAGS,
        *scheme,
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=20000",
    ]
    ran = subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=300)
    said = re.search(r"AXE(\{.*\})EXA", ran.stdout, flags=re.DOTALL)
    assert said, ran.stdout[-500:] + ran.stderr[-500:]
    return json.loads(said[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def printed_pages(source: str, folder: Path) -> int:
    """Pages (Letter, shorter than A4) that a page prints without its appendix."""
    page, pdf = folder / "print.html", folder / "print.pdf"
    page.write_text(source.replace("</style>", ".appendix { display: none; }</style>", 1), "utf8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--no-pdf-header-footer"]
    subprocess.run(
        [*command, f"--print-to-pdf={pdf}", page.as_uri()], capture_output=True, timeout=300, check=True
    )
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))
