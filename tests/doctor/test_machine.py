"""What is said of threads, disks and devices, by their figures."""

from __future__ import annotations

from pathlib import Path

from rankone.doctor import machine


def test_the_machine_that_runs_this_is_looked_at_whole():
    found = [f.check for f in machine.check_machine()]
    assert {"torch", "gpu", "threads", "Hub cache", "Hub", "compiler", "browser"} <= set(found)
    assert any(check.startswith("disk") for check in found)


def test_threads_beside_cores():
    assert machine._threads(4, 2).status == "note"
    assert machine._threads(1, 2).mend == "To use all of them set OMP_NUM_THREADS=2."
    assert machine._threads(2, 2).status == "ok"


def test_a_driver_without_a_build_for_it_is_a_note():
    assert "CUDA build" in machine._gpu(False, None, True).mend
    assert "nvidia-smi" in machine._gpu(False, "13.0", True).mend
    assert machine._gpu(False, None, False).mend == ""


def test_a_full_disk_is_wrong_and_a_small_one_a_note():
    here = Path()
    said = [machine._disk("disk", here, size).status for size in (2**20, 2 * machine.GIB, 50 * machine.GIB)]
    assert said == ["wrong", "note", "ok"]
