"""What the command line asks of the Hugging Face libraries, and that it is heard."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.fresh import UNSEARCHED

from rankone.runtime.quiet import QUIET, quiet_libraries, without_bars


def test_what_the_user_has_set_stays():
    given = {"TRANSFORMERS_VERBOSITY": "info"}
    quiet_libraries(given)
    assert given == {**QUIET, "TRANSFORMERS_VERBOSITY": "info"}


def test_transformers_hears_it():
    code = (
        "from rankone.runtime.quiet import quiet_libraries; quiet_libraries()\n"
        "from transformers.utils import logging\n"
        "print(logging.get_verbosity() == logging.ERROR, logging.is_progress_bar_enabled())"
    )
    clean = {k: v for k, v in os.environ.items() if k not in QUIET}
    done = subprocess.run(
        [sys.executable, "-c", UNSEARCHED + code], env=clean, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"]


def test_importing_the_library_changes_nothing_of_theirs():
    code = (
        "import os\nfrom transformers import PreTrainedModel\n"  # what they set themselves while imported
        "from transformers.utils import logging\n"
        "before = logging.get_verbosity(), logging.is_progress_bar_enabled(), dict(os.environ)\n"
        "import rankone.workspace, rankone.harvest.run, rankone.edits.export, rankone.experiments.demo, rankone.labels.run\n"
        "import rankone.cli\n"
        "print(before == (logging.get_verbosity(), logging.is_progress_bar_enabled(), dict(os.environ)))"
    )
    clean = {k: v for k, v in os.environ.items() if k not in QUIET}
    done = subprocess.run(
        [sys.executable, "-c", UNSEARCHED + code], env=clean, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True"], done.stderr


def test_bars_are_off_while_files_are_read_and_back_afterwards():
    from transformers.utils import logging

    was = logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    try:
        with without_bars():
            assert not logging.is_progress_bar_enabled()
        assert logging.is_progress_bar_enabled()
        with without_bars(quiet=False):
            assert logging.is_progress_bar_enabled()
    finally:
        (logging.enable_progress_bar if was else logging.disable_progress_bar)()
