"""Progress: what it says and when, on standard error; one switch silences it."""

from __future__ import annotations

import io
import logging
import re

import pytest
from rich.console import Console

from rankone.runtime import progress
from rankone.runtime.progress import log, meter, report


@pytest.fixture(autouse=True)
def _as_before():
    handlers, level = log.handlers, log.level
    yield
    log.handlers = handlers
    log.setLevel(level)


def test_a_line_at_every_tenth_with_the_time_left_and_the_total(capsys, monkeypatch):
    now = iter([0.0, 30.0, 60.0, 90.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with meter("fit", 3) as bar:
        for i in range(3):
            bar.advance(1, f"loss {i}")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "fit: 1/3  1:00 left of 1:30  loss 0",
        "fit: 2/3  0:30 left of 1:30  loss 1",
        "fit: 3/3  took 1:30  loss 2",
    ]


def test_what_is_mostly_short_says_nothing_off_a_terminal_until_it_is_long(capsys, monkeypatch):
    now = iter([0.0, 2.0, 6.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with meter("measure", 2, after=5) as bar:
        bar.advance(note="de")
        bar.advance(note="en")
    assert capsys.readouterr().err == "measure: 2/2  took 0:06  en\n"


def test_the_log_comes_out_on_standard_error(capsys):
    report()
    report()
    logging.getLogger("rankone").info("a [bold]note[/bold] \x1b[2J")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "a [bold]note[/bold] \\x1b[2J\n")


def test_quiet_leaves_warnings_alone(capsys):
    report(quiet=True)
    log.info("a note")
    log.warning("a warning")
    with meter("fit", 1) as bar:
        bar.advance()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "a warning\n")


@pytest.mark.parametrize(("seconds", "said"), [(0, "0:00"), (59.6, "1:00"), (3661, "1:01:01")])
def test_clock(seconds, said):
    assert progress._minutes(seconds) == said


@pytest.mark.parametrize("width", [60, 80, 150])
def test_a_bar_stays_on_one_line(width, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(
        progress, "aside", Console(file=out, width=width, force_terminal=True, color_system=None)
    )
    with meter("measure parts", 22) as bar:
        for _ in range(5):
            bar.advance(1, "+0.16 sharpened-neuron-de/h.0.mlp.down_proj:734")
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).replace("\r", "\n").splitlines()
    shown = [line for line in lines if line.strip()]
    assert shown
    assert all(line.startswith("measure parts ") and len(line) <= width for line in shown)
    assert any(
        "5/5 took" in line and "+0.16" in line for line in shown
    )  # done, though fewer steps than reckoned
    assert progress._cut("+0.16 sharpened-neuron-de", 14) == "+0.16 sharpen…"
