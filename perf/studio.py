"""How quick the studio is: from the command to a list, filters, scrolling, dials; memory of server and page.

    python perf/studio.py --out perf/results/studio.json

Needs Chromium and an idle machine; its bars stand beside its figures in RESEARCH_LOG.md. Times are medians.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from rankone.core.files import write_json
from rankone.core.provenance import environment, git_revision

PART = "h.3.mlp.down_proj:270"
TURNS = 9
FILTERS = """async () => {
  const field = document.querySelector("input[name=q]"), times = [];
  for (let i = 0; i < 40; i++) {
    const start = performance.now();
    field.value = ["german", "g", "suffix", "french text", "h.3", ""][i % 6];
    field.dispatchEvent(new Event("input", {bubbles: true}));
    times.push(performance.now() - start);
    await new Promise(requestAnimationFrame);
  }
  return times;
}"""
SCROLLS = """async () => {
  const list = document.querySelector(".window"), times = [];
  for (let i = 0; i < 100; i++) {
    list.scrollTo(0, ((i * 7919) % 100) / 100 * list.scrollHeight);
    const start = performance.now();
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    times.push((performance.now() - start) / 2);
  }
  return times;
}"""


def dial(page: Page, alpha: float) -> tuple[float, float]:
    """Seconds from a move to the first figures and to all of them."""
    field = page.get_by_label(f"\u03b1 of {PART}")
    start = time.perf_counter()
    field.fill(str(alpha))
    field.press("Enter")
    page.get_by_text("128 validation tokens").wait_for()
    first = time.perf_counter() - start
    page.get_by_text("800 validation tokens").wait_for()
    return first, time.perf_counter() - start


def resident(pid: int) -> float:
    """MB of a process and its children."""
    children = subprocess.run(
        ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    pages = [Path(f"/proc/{one}/statm").read_text().split()[1] for one in (pid, *children)]
    return sum(map(int, pages)) * 4096 / 1e6


def measured(folder: str) -> dict[str, float]:
    """All figures of one start."""
    command = [sys.executable, "-P", "-m", "rankone", "studio", folder, "--no-browser"]
    start = time.perf_counter()
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        sync_playwright() as playwright,
    ):
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        printed = time.perf_counter() - start
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        opened = time.perf_counter()
        page.goto(address)
        page.locator(".whole .row").first.wait_for()
        listed = time.perf_counter()
        filters, scrolls = page.evaluate(FILTERS), page.evaluate(SCROLLS)
        page.goto(page.url.split("#")[0] + f"#/dials?d={PART}=-1")
        page.get_by_text("800 validation tokens").wait_for(timeout=60_000)
        turns = [dial(page, -2 - i / 4) for i in range(TURNS)]
        session = page.context.new_cdp_session(page)
        heap = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
        memory = resident(process.pid)
        browser.close()
        process.terminate()
    return {
        "command to address, s": printed,
        "address to list, s, without the start of the browser": listed - opened,
        "filter of 9,216, ms, 95%": statistics.quantiles(filters, n=20)[-1],
        "scroll frame, ms, 95%": statistics.quantiles(scrolls, n=20)[-1],
        "dial to first figures, s": statistics.median(first for first, _ in turns),
        "dial to all, s": statistics.median(whole for _, whole in turns),
        "page heap, MB": heap,
        "server and worker, MB": memory,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(folder)
    for name, value in figures.items():
        sys.stdout.write(f"{name:60} {value:8.3f}\n")
    write_json(given.out, {"figures": figures, "environment": environment(), "revision": git_revision()})


if __name__ == "__main__":
    main()
