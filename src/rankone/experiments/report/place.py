"""Where a report is made: it stands at its place whole or not at all, also where it replaces another."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rankone.core.artifact import new_folder, open_artifact
from rankone.core.claims import claim, require_claim, scratch_folder
from rankone.core.errors import RankOneError

EDIT = "edit"
# What makes a folder one of results: of a report that is exchanged it goes first and comes last.
_RECORD = "summary.json"
# A report may have them or not.
_OPTIONAL = ("zero_token.parquet", "evidence.json", "figures/zero_token.svg")


@contextmanager
def report_folder(out: Path, replace: bool) -> Generator[Path]:
    """Yield an empty folder that becomes the report `out` when the block ends well; else `out` is as it was.

    replace: `out` may stand; then its report is exchanged and other files in it stay. A kill during the exchange itself
    leaves a folder without `summary.json`, which nothing takes for a report and the same command completes.
    """
    if not (replace and out.exists()):
        with new_folder(out) as staging:
            yield staging
        return
    if not out.is_dir():
        raise RankOneError(f"'{out}' is a file: no report can replace it. Choose another name.")
    if (out / EDIT).exists():
        open_artifact(out / EDIT, "edit")
    with claim(out), scratch_folder(out) as staging:
        yield staging
        require_claim(out)
        _exchange(staging, out)


def _exchange(staging: Path, out: Path) -> None:
    for name in (_RECORD, *_OPTIONAL):
        (out / name).unlink(missing_ok=True)
    if (out / EDIT).exists():
        shutil.rmtree(out / EDIT)
    files = (p for p in staging.rglob("*") if p.is_file())
    for file in sorted(files, key=lambda path: (path == staging / _RECORD, path)):
        place = out / file.relative_to(staging)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)
