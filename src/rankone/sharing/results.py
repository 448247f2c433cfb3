"""Results as an artefact: a folder of tables and a report gets its manifest when it is sent, for it grows until then."""

from __future__ import annotations

from pathlib import Path

from rankone.core.artifact import MANIFEST, Artifact
from rankone.core.errors import RankOneError
from rankone.core.files import read_json
from rankone.core.manifest import Manifest, hashed_files
from rankone.core.schemas.kinds import schema_of

KIND = "results"
# What a folder of results is known by: the record of a job (or of `demo`), and of a benchmark.
RECORDS = ("summary.json", "bench.json")


def is_results(path: Path) -> bool:
    """Whether a folder holds results, and no manifest yet."""
    return not (path / MANIFEST).exists() and record_of(path) is not None


def record_of(path: Path) -> str | None:
    """Name of the record that makes a folder one of results."""
    return next((name for name in RECORDS if (path / name).is_file()), None)


def sealed(path: Path) -> Artifact:
    """The results in a folder as an artefact; nothing is written there, its manifest is in memory alone.

    Hidden files are no part of it. Provenance is that of the record: where and with what it was computed. RankOneError for a
    record that cannot be read.
    """
    record = record_of(path)
    if record is None:
        raise RankOneError(f"'{path}' holds no results: it lacks {' and '.join(RECORDS)}. Check the path.")
    said = read_json(path / record).get("provenance")
    for link in (entry for entry in sorted(path.rglob("*")) if entry.is_symlink()):
        raise RankOneError(
            f"'{link.relative_to(path).as_posix()}' in '{path}' is a link: what it leads to would be sent too. Put the file "
            "itself there, or remove it."
        )
    files = {
        name: digest
        for name, digest in hashed_files(path).items()
        if not any(part.startswith(".") for part in name.split("/"))
    }
    values = {
        "kind": KIND,
        "schema_version": schema_of(KIND).version,
        "files": files,
        "provenance": said if isinstance(said, dict) else {},
    }
    return Artifact(path, Manifest.checked(values, str(path)))
