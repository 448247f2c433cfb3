"""The help by themes, and options given once."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
from itertools import chain
from unittest.mock import patch

import pytest
from tests import tiny
from tests.tiny import rankone

from rankone.cli.grouping import THEMES
from rankone.verbs.table import VERBS


def test_every_command_stands_in_one_theme():
    assert sorted(chain(*THEMES.values())) == sorted([*VERBS, "studio"])


def test_the_help_has_every_command_under_its_theme_with_all_that_it_says():
    with patch.dict(os.environ, COLUMNS="80"):
        said = rankone("-h").out
    for theme, names in THEMES.items():
        section = said.split(f"\n{theme}:\n")[1].split("\n\n")[0]
        assert [line.split()[0] for line in section.strip("\n").split("\n") if line[2] != " "] == list(names)
    assert "…" not in said
    assert "..." not in said.replace("[ARGS]...", "")
    assert max(map(len, said.split("\n"))) <= 80
    plain = " ".join(said.split())
    for name, verb in VERBS.items():
        assert f"{name} {' '.join((inspect.getdoc(verb.run) or '').split()[:4])}" in plain


@pytest.mark.parametrize("words", ["--top 3 --top 4", "--top=3 --top 3"])
def test_an_option_of_one_value_is_given_once(words):
    refused = rankone(*f"rank --of de {words}".split())
    assert refused.code == 2
    assert "--top is given twice, and one value is taken. Leave one out." in refused.err


def test_lists_and_flags_may_be_repeated():
    listed = "sites mini --json --json --pattern h.3.mlp.down_proj --pattern h.2.mlp.down_proj"
    answered = rankone(*listed.split())
    assert answered.code == 0, answered.err
    assert "h.3.mlp.down_proj" in answered.out
    assert "h.2.mlp.down_proj" in answered.out


@pytest.mark.parametrize("words", ["help rank", "-h rank", "--help rank", "rank -h"])
def test_help_may_stand_before_its_command(words):
    assert rankone(*words.split()).out.startswith("Usage: rankone rank ")


@pytest.mark.parametrize(
    ("verb", "said"),
    [("decompose", "The same command goes on where it stood."), ("edit", "Nothing half-made is left.")],
)
def test_what_was_broken_off_says_whether_it_goes_on(verb, said, monkeypatch):
    def broken_off(**_: object) -> int:
        return 130  # of a command that Ctrl-C broke off

    monkeypatch.setattr(tiny, "parser_of", lambda _: broken_off)
    stopped = rankone(verb)
    assert (stopped.code, stopped.err) == (130, f"\nrankone: interrupted. {said}\n")


WAITING = """
import sys, time
import rankone.text.opening as opening
from rankone.cli import main
opening.open_corpus = lambda _: print("here", flush=True) or time.sleep(60)
sys.argv = ["rankone", "edit", "h.3.mlp.down_proj:270=-16"]
main()
"""


def test_ctrl_c_is_answered_in_a_process_of_its_own():
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "\nrankone: interrupted. Nothing half-made is left.\n"
    assert process.returncode == 130
