"""How quick the studio is: from the command to a list, filters, scrolling, dials; memory of server and page.

    python -m perf.studio --out perf/results/studio.json [--large runs/smollm2 [--only-large]]

Needs Chromium and an idle machine: the load average before and after is part of the result. The browser is started before
the command is, as a user's is. --large: a model whose dial is timed too, at the last `mlp.down_proj` (SmolLM2-135M):
from the command with its files dropped from memory, right after it is open, after the text was read, and as it goes on.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from rankone import open as open_session
from rankone.core.files import write_json
from rankone.core.provenance import environment, git_revision
from rankone.harvest.brief import brief_harvest
from rankone.studio.listed.columns import SHIPPED, read_columns, write_columns
from rankone.studio.listing import columns_key

PART, EARLY, MANY, TURNS = "h.3.mlp.down_proj:270", "h.0.attn.v_proj:101", 40_000, 9
SECOND = 1000
# With the opener 64 tokens.
TEXT = (
    "Der Ausschuss hat gestern beschlossen, dass die Mitglieder der Kommission " * 3 + "hat gestern, dass die"
)
FILTERS = """async () => {
  const field = document.querySelector("input[name=q]"), times = [];
  for (let i = 0; i < 200; i++) {
    const start = performance.now();
    field.value = ["german", "g", "suffix", "french text", "h.3", "", "function words", "de"][i % 8];
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

TURN = """([part, alpha, tokens]) => new Promise((resolve) => {
  const field = document.querySelector(`input[aria-label="\\u03b1 of ${part}"]`), times = [0, 0, 0];
  const start = performance.now();
  const watch = new MutationObserver(() => {
    const rows = [...document.querySelectorAll("tr[data-tokens]")].map((row) => Number(row.dataset.tokens));
    const all = (n) => rows.length > 0 && rows.every((one) => one >= n);
    const there = [rows.some(Boolean), all(128), all(tokens)];
    requestAnimationFrame((now) => {
      there.forEach((is, i) => { if (is && !times[i]) times[i] = performance.now() - start; });
      if (times[2]) { watch.disconnect(); resolve(times); }
    });
  });
  watch.observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true});
  field.value = alpha;
  field.dispatchEvent(new Event("change", {bubbles: true}));
})"""


ASKED = """async ([path, body, turns]) => {
  const times = [];
  for (let i = 0; i < turns; i++) {
    const start = performance.now();
    const headers = {"content-type": "application/json"};
    const reply = await fetch(path, {method: "POST", headers, body: JSON.stringify(body)});
    await reply.text();
    times.push(performance.now() - start);
  }
  return times;
}"""


@contextmanager
def served(browser: Browser, folder: Path, *options: str) -> Iterator[tuple[Page, int, float]]:
    """A page with its list or its dials, the server's process, seconds from the command to the page's first content."""
    command = [sys.executable, "-P", "-m", "rankone", "studio", str(folder), "--no-browser", *options]
    page = browser.new_page()
    page.set_default_timeout(600 * SECOND)
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            page.goto(process.stdout.readline().split()[1])
            page.locator("h1" if "--model" in options else ".whole .row").first.wait_for()
            yield page, process.pid, time.perf_counter() - start
        finally:
            page.close()
            process.terminate()


def dial(page: Page, part: str, alpha: float, tokens: int) -> tuple[float, float, float]:
    """Seconds from a move until a frame shows the first row, 128 tokens of all domains, `tokens` of all.

    The page itself notes the times: what waits from outside looks a few times a second.
    """
    shown = page.evaluate(TURN, [part, alpha, tokens])
    return shown[0] / SECOND, shown[1] / SECOND, shown[2] / SECOND


def dials(page: Page, part: str, turns: int, tokens: int = 800) -> tuple[float, float, float]:
    """Medians of several moves, after one that nothing is timed of; a move calls off what the one before still measures."""
    page.goto(page.url.split("#")[0] + f"#/dials?d={part}=-1")
    page.get_by_text(f"{tokens} validation tokens per domain").wait_for()
    times = [dial(page, part, -2 - i / 4, tokens) for i in range(turns)]
    first, all_first, whole = (statistics.median(column) for column in zip(*times, strict=True))
    return first, all_first, whole


def asked(page: Page, path: str, body: dict[str, object], turns: int = 5) -> float:
    """Seconds from a question of the page until its whole answer is there, the median of several."""
    times = page.evaluate(ASKED, [path, body, turns])
    return statistics.median(times) / SECOND


def family(pid: int) -> list[str]:
    """A process and its children."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    return [str(pid), *children.split()]


def resident(pid: int) -> float:
    """MB of a process and its children; pages that they share count once (PSS)."""
    rolled = [Path(f"/proc/{one}/smaps_rollup").read_text("ascii") for one in family(pid)]
    return sum(int(text.split("Pss:")[1].split()[0]) for text in rolled) / 1000


def many(folder: Path) -> tuple[str, ...]:
    """Options for a list of MANY parts: a brief harvest, whose kept columns are made longer."""
    session = open_session("mini")
    store, harvest = brief_harvest(session.workspace, ["de", "en"], 100), folder / "harvest"
    shutil.copytree(store.artifact.path, harvest)
    shipped = read_columns(SHIPPED)
    of = [i % len(shipped.number) for i in range(MANY)]
    names = ("site", "label", "label_source", "confidence", "density", "importance")
    longer = {name: tuple(getattr(shipped, name)[i] for i in of) for name in names}
    by_domain = tuple(tuple(column[i] for i in of) for column in shipped.by_domain)
    columns = shipped.model_copy(update=longer | {"number": tuple(range(MANY)), "by_domain": by_domain})
    write_columns(columns, folder / "studio" / f"parts-{columns_key(harvest, None)}.json.gz")
    return ("--harvest", str(harvest))


def listed(page: Page, parts: str) -> dict[str, float]:
    """Filters and scrolling of a list."""
    filters, scrolls = page.evaluate(FILTERS), page.evaluate(SCROLLS)
    heap = page.context.new_cdp_session(page).send("Runtime.getHeapUsage")["usedSize"] / 1e6
    return {
        f"filter of {parts}, ms, 95%": statistics.quantiles(filters, n=20)[-1],
        f"scroll frame of {parts}, ms, 95%": statistics.quantiles(scrolls, n=20)[-1],
        f"page heap with {parts}, MB": heap,
    }


def measured(browser: Browser, large: Path | None, only_large: bool) -> dict[str, float]:
    """All figures, or those of the large model alone."""
    figures: dict[str, float] = {} if only_large else of_mini(browser)
    if large is not None:
        figures |= of_large(browser, large)
    return figures


def of_mini(browser: Browser) -> dict[str, float]:
    """The built-in model: its own list, a long one, its dials."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, served(browser, Path(folder)) as (page, pid, took):
        figures["command to list of 9,216, s"] = took
        figures |= listed(page, "9,216")
        first, all_first, whole = dials(page, PART, TURNS)
        figures["dial to first row, s"] = first
        figures["dial to first figures (128 x 8), s"] = all_first
        figures["dial to all (800 x 8), s"] = whole
        early = dials(page, EARLY, TURNS)
        figures["dial of the first block to first figures (128 x 8), s"] = early[1]
        figures["dial of the first block to all (800 x 8), s"] = early[2]
        figures["a part's page, s"] = asked(page, "/api/part", {"name": PART})
        figures["text of 64 tokens, s"] = asked(page, "/api/prompt", {"text": TEXT, "top": 12})
        said = {"prompt": "Der Ausschuss hat", "scales": {PART: -8}, "tokens": 40}
        figures["both continuations of 40 tokens, s"] = asked(page, "/api/generate", said)
        figures["server and worker after dials, MB"] = resident(pid)
        page.wait_for_timeout(4 * SECOND)
        figures["server and worker at rest, MB"] = resident(pid)
    with tempfile.TemporaryDirectory() as folder:
        options = many(Path(folder))
        with served(browser, Path(folder), *options) as (page, _, took):
            figures["command to list of 40,000, s"] = took
            figures |= listed(page, "40,000")
    return figures


def of_large(browser: Browser, large: Path) -> dict[str, float]:
    """The dial of a larger model at a late site: cold from the command, once it is open, and when its text was read."""
    layers = open_session(str(large)).model.config.num_hidden_layers
    part, figures = f"neuron/model.layers.{layers - 1}.mlp.down_proj:7", dict[str, float]()
    forget(large)
    with large_dials(browser, large, part, -1) as (page, pid, start):
        page.get_by_text("128 validation tokens per domain").wait_for()
        figures["command to figures, turned at once, files not in memory, s"] = time.perf_counter() - start
        figures["a move while the rest of the text is read, s"] = dial(page, part, -2, 128)[1]
        rest(pid)
        moves = [dial(page, part, -3 - i / 4, 128)[1] for i in range(3)]
        figures["dial to first figures (1,024 tokens), s"] = statistics.median(moves)
    for name, wait in (("once the model is open", False), ("once the text was read too", True)):
        with large_dials(browser, large, part, 1) as (page, pid, start):
            page.locator(".about", has_text="parameters").wait_for()
            figures["command to an open model, files in memory, s"] = time.perf_counter() - start
            if wait:
                rest(pid)
            figures[f"first move {name}, s"] = dial(page, part, -2, 128)[1]
    return {f"{large.name}: {name}": value for name, value in figures.items()}


@contextmanager
def large_dials(browser: Browser, large: Path, part: str, alpha: float) -> Iterator[tuple[Page, int, float]]:
    """The dials of a model as soon as there is a page, one pinned; the server's process, and when it was started."""
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        served(browser, Path(folder), "--model", str(large)) as (page, pid, _),
    ):
        page.goto(page.url.split("#")[0] + f"#/dials?d={part}={alpha:g}")
        yield page, pid, start


def forget(folder: Path) -> None:
    """Have the system drop what it holds of these files in memory."""
    for file in (one for one in folder.iterdir() if one.is_file()):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rest(pid: int) -> None:
    """Wait until a process and its children have computed nothing for two seconds."""
    before = -1.0
    while (now := sum(processor(one) for one in family(pid))) > before:
        before = now + 0.05  # a page that polls is at rest
        time.sleep(2)


def processor(pid: str) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--large", type=Path)
    parser.add_argument("--only-large", action="store_true", help="leave the built-in model out")
    given = parser.parse_args()
    before = os.getloadavg()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        figures = measured(browser, given.large, given.only_large)
        browser.close()
    for name, value in figures.items():
        sys.stdout.write(f"{name:60} {value:8.3f}\n")
    load = {"before": before, "after": os.getloadavg()}
    about = {
        "environment": environment(),
        "load average (1, 5, 15 minutes)": load,
        "revision": git_revision(),
    }
    write_json(given.out, {"figures": figures, **about})


if __name__ == "__main__":
    main()
