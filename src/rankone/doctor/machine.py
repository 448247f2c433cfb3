"""The check-up of the machine: torch and its devices, threads, memory, disk, the Hub and its cache, compiler, browser."""

from __future__ import annotations

import os
import shutil
import tempfile
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import torch

from rankone.doctor.finding import Finding, note, ok, wrong
from rankone.runtime import hub
from rankone.runtime.memory import available_bytes

GIB = 2**30
# Below this a small model's export fits hardly; below the other nothing is written safely.
_LITTLE, _LEAST = 5 * GIB, GIB // 4


def check_machine() -> Iterator[Finding]:
    """Everything a run leans on, in the order in which a run needs it."""
    yield _torch()
    yield _gpu(torch.cuda.is_available(), torch.version.cuda, _driver())
    yield _threads(torch.get_num_threads(), cores())
    yield from _memory()
    yield from _disks()
    yield from _hub()
    yield _compiler()
    yield _browser()


def cores() -> int:
    """Cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _torch() -> Finding:
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU alone"
    return ok("torch", f"{torch.__version__}, built for {built}")


def _driver() -> bool:
    """Whether an NVIDIA driver is there, whatever torch was built for."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _gpu(usable: bool, built_for: str | None, driver: bool) -> Finding:
    if usable:
        names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return ok("gpu", "; ".join(f"{p.name}, {p.total_memory / GIB:.0f} GiB" for p in names))
    if torch.backends.mps.is_available():
        return ok("gpu", "Apple's (mps)")
    if driver and not built_for:
        return note(
            "gpu",
            "a driver is there, but torch is built for the CPU alone",
            "Install torch's CUDA build to use it.",
        )
    if built_for and driver:
        return note("gpu", "a driver is there, but torch finds no device", "See what nvidia-smi says.")
    return note("gpu", "none: everything runs on the CPU; decompose is slow there for more than small models")


def _threads(threads: int, available: int) -> Finding:
    said = f"{threads} threads on {available} cores"
    if threads > available:
        return note("threads", f"{said}: they hinder each other", f"Set OMP_NUM_THREADS={available}.")
    if threads < available:
        return note("threads", said, f"To use all of them set OMP_NUM_THREADS={available}.")
    return ok("threads", said)


def _memory() -> Iterator[Finding]:
    available = available_bytes(torch.device("cpu"))
    if available is None:
        return
    said = f"{available / GIB:.1f} GiB free"
    if available < GIB:
        yield note(
            "memory", said, "End other programs, or take smaller models; --estimate says what a run takes."
        )
    else:
        yield ok("memory", said)


def _disks() -> Iterator[Finding]:
    """The current folder, the temporary one and the Hub's cache; each file system once."""
    seen: set[int] = set()
    places = {
        "here": Path.cwd(),
        "temporary folder": Path(tempfile.gettempdir()),
        "Hub cache": hub.cache_folder(),
    }
    for name, place in places.items():
        there = next(p for p in (place, *place.parents) if p.exists())
        device = there.stat().st_dev
        if device not in seen:
            seen.add(device)
            yield _disk(f"disk ({name})", there, shutil.disk_usage(there).free)


def _disk(check: str, place: Path, free: int) -> Finding:
    said = f"{free / GIB:.1f} GiB free at {place}"
    if free < _LEAST:
        return wrong(check, said, "Make room before the next run.")
    return (
        note(check, said, "Make room before fetching or exporting a model.")
        if free < _LITTLE
        else ok(check, said)
    )


def _hub() -> Iterator[Finding]:
    place = hub.cache_folder()
    there = next(p for p in (place, *place.parents) if p.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        yield wrong("Hub cache", f"'{place}' cannot be written in", "Set HF_HOME to a folder of yours.")
    else:
        held = len(list(place.glob("*--*"))) if place.exists() else 0
        yield ok("Hub cache", f"{place}, {held} repositories")
    if hub.reachable():
        yield ok("Hub", "answers")
    else:
        mend = "Name folders, or what the cache holds; see HF_ENDPOINT, HF_HUB_OFFLINE and the proxy."
        yield note("Hub", "cannot be reached (or HF_HUB_OFFLINE is set)", mend)


def _compiler() -> Finding:
    compiler = next(
        (c for c in (os.environ.get("CXX"), "c++", "g++", "clang++") if c and shutil.which(c)), None
    )
    if compiler:
        return ok("compiler", f"{compiler}: decompose compiles its steps")
    return note(
        "compiler", "no C++ compiler: decompose runs its steps uncompiled, slower", "Install g++ or clang."
    )


def _browser() -> Finding:
    try:
        webbrowser.get()
    except webbrowser.Error:
        return note("browser", "none here: open reports (HTML, one file each) on another machine")
    return ok("browser", "found, for reports")
