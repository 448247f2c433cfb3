"""Where a browser is asked for (`.ci/run`), a missing one fails the tests of pages instead of skipping them."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.browser import NEEDED

SAID = "import tests.browser; print(tests.browser.needed.args)"


def _skipped(**more: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k != NEEDED} | {"PATH": "/nonexistent"} | more
    ran = subprocess.run(
        [sys.executable, "-c", SAID], capture_output=True, text=True, env=environment, check=True
    )
    return ran.stdout.strip()


def test_without_a_browser_tests_of_pages_are_skipped_unless_one_is_asked_for():
    assert _skipped() == "(True,)"
    assert _skipped(**{NEEDED: "1"}) == "(False,)"
