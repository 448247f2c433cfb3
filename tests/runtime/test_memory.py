"""The memory that a process has taken: of the right size, and absent where the system does not tell."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rankone.runtime.memory import peak_bytes, peak_megabytes

STATUS = Path("/proc/self/status")


@pytest.mark.skipif(not STATUS.is_file(), reason="needs another witness of this process's memory")
def test_the_unit_is_bytes():
    """Linux tells the same, in kB, in a file."""
    held = next(line for line in STATUS.read_text("ascii").splitlines() if line.startswith("VmHWM"))
    own, peak = int(held.split()[1]) * 1024, peak_bytes()
    assert peak is not None
    assert 0.9 * own < peak < 10 * own  # on exec a process inherits the peak of its parent
    assert peak_megabytes() == round(peak / 2**20)


def test_without_resource_nothing_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_bytes() is None
    assert peak_megabytes() is None


def test_what_a_program_has_imported_is_searched_for_cycles_no_more():
    code = """
import gc, sys, weakref
from rankone.runtime.memory import spare_imported
spare_imported()
class Thing: pass
def cycle():
    one = Thing()
    one.itself = one
    return weakref.ref(one)
before = cycle()
gc.collect()
assert before() is None and not gc.get_freeze_count()  # nothing has been imported
before = len(sys.modules)
import asyncio, concurrent.futures, email.mime.text, http.server, logging.config, multiprocessing.pool
import sqlite3, unittest.mock, urllib.request, xml.dom.minidom, xmlrpc.client, pydantic
assert len(sys.modules) > before + 100
gc.collect()
frozen = gc.get_freeze_count()
assert frozen > 10_000
after = cycle()
gc.collect()
assert after() is None and gc.get_freeze_count() == frozen
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_duckdb_reports_nothing_of_what_was_not_searched():
    """Nor where libraries came after the last whole collection: the one at the end does not set them aside."""
    start = "import gc, sys\nfrom rankone.runtime.memory import spare_imported\nspare_imported()\n"
    used = "import duckdb, numpy\nduckdb.sql('select 1').fetchall()\n"
    for code in (
        "gc.collect()\nassert gc.get_freeze_count()",
        "gc.set_threshold(10**9)\nimport torch",
    ):
        words = [sys.executable, "-c", start + used + code]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert not done.stderr


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="interrupts itself by a timer")
def test_an_interrupt_is_not_lost_to_a_collection():
    """What Python code raises that a collection calls is dropped; it is the first to see a Ctrl-C in a library's code."""
    code = """
import signal
from itertools import repeat
from rankone.runtime.memory import spare_imported
spare_imported()
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.02)
try:
    made = list(map(list, repeat((), 1_000_000)))  # collections, and no Python code but what they call
    for _ in range(1000): pass
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "interrupted\n"
