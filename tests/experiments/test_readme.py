"""The README's table of the demo is what `rankone demo` gives, within the ranges that stand under it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.browser import CHROMIUM, printed_pages
from tests.test_docs import ROOT

from rankone.experiments.report.results import Results, read_results

README = (ROOT / "README.md").read_text("utf8")
ROWS = {
    "one scalar on the pick, as decomposed": "scalar",
    "the same, read sharpened": "sharpened",
    "one scalar on raw neuron 270 of the same matrix": "neuron",
    "LoRA rank 1, same matrix": "lora_r1_local",
}
# (seeds that succeed, German CE, rise of a trained domain, rise of Dutch and Swedish), as the README states them.
ONE_NUMBER, LORA = (0, 0.05, 0.01, 0.03), (2, 0.2, 0.01, 0.1)
RANGES = (
    "allow for these ranges: one number 9/9, German CE ± .05, trained domains ± .01, nl and sv "
    "± .03; LoRA success ± 2, German CE ± .2, trained domains ± .01, nl and sv ± .1."
)


def table(readme: str) -> tuple[list[str], dict[str, list[str]]]:
    """Headings, and cells by method, of the README's table of the demo."""
    (found,) = re.findall(r"^\| method \|.*\n(?:\|.*\n)+", readme, re.MULTILINE)
    header, _, *rows = [[c.strip(" *") for c in line.strip("|").split("|")] for line in found.splitlines()]
    return header, {ROWS[row[0]]: row for row in rows}


def differences(readme: str, results: Results) -> list[str]:
    """Every figure of the table that a demo's results do not give within its range."""
    header, rows = table(readme)
    wrong = []
    for method, cells in rows.items():
        said = dict(zip(header, cells, strict=True))
        tally = results.counted[method][int(said["German tokens"])]
        seeds, ce, trained, other = LORA if method.startswith("lora") else ONE_NUMBER
        made = {"success": (tally.successes, seeds), "German CE": (tally.forget_ce, ce)}
        made |= {d: (rise, other if d in ("nl", "sv") else trained) for d, rise in tally.damage.items()}
        assert set(made) == set(header) - {"method", "German tokens"}
        for name, (value, allowed) in made.items():
            figure = float(said[name].partition("/")[0].replace("−", "-"))
            half = 0 if name == "success" else 0.005  # of the last digit
            if abs(figure - value) > allowed + half:
                wrong.append(f"{method}, {name}: {figure:g} in the README, {value:.4g} made")
    return wrong


def test_the_ranges_stand_under_the_table():
    assert RANGES in " ".join(README.split())
    _, rows = table(README)
    assert set(rows) == set(ROWS.values())


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_demo_gives_the_readmes_table(tmp_path: Path):
    command = [sys.executable, "-m", "rankone", "demo", "--out", "report"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    results = read_results(tmp_path / "report")
    assert differences(README, results) == []
    assert differences(README.replace("| 8.22 |", "| 8.32 |", 1), results) != []
    assert results.summary.part in README
    if CHROMIUM is not None:
        page = (tmp_path / "report" / "index.html").read_text("utf8")
        assert printed_pages(page, tmp_path) <= 5
