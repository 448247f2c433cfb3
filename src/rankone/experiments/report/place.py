"""Where a report is made: it stands at its place whole or not at all, also where it replaces another."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rankone.core.artifact import new_folder, open_artifact, read_json, remove_artifact, write_json
from rankone.core.claims import claim, require_claim, scratch_folder
from rankone.core.errors import RankOneError
from rankone.experiments.report.results import JobSummary

EDIT = "edit"
# What makes a folder one of results: of a report that is exchanged it goes first and comes last.
_RECORD = "summary.json"
# Stands in it meanwhile, so that the same command knows it again.
_EXCHANGE = ".rankone-exchange"
# A report may have them or not.
_OPTIONAL = ("zero_token.parquet", "evidence.json", "figures/zero_token.svg")


@contextmanager
def report_folder(out: Path, replace: bool) -> Generator[Path]:
    """Yield an empty folder that becomes the report `out` when the block ends well; else `out` is as it was.

    replace: `out` may stand; then its report is exchanged and other files in it stay; a folder without a report is refused.
    A kill during the exchange itself leaves a folder without `summary.json`, which nothing takes for a report and the same
    command completes.
    """
    if not (replace and out.exists()):
        with new_folder(out) as staging:
            yield staging
        return
    if not out.is_dir():
        raise RankOneError(f"'{out}' is a file: no report can replace it. Choose another name.")
    _require_report(out)
    if (out / EDIT).exists():
        open_artifact(out / EDIT, "edit")
    with claim(out), scratch_folder(out) as staging:
        yield staging
        require_claim(out)
        _exchange(staging, out)


def _require_report(out: Path) -> None:
    """Raise for a folder whose files were not made here: by their names alone none of them is exchanged."""
    if (out / _EXCHANGE).exists() or not any(out.iterdir()):
        return
    try:
        JobSummary.checked(read_json(out / _RECORD), str(out / _RECORD))
    except RankOneError as error:
        raise RankOneError(
            f"'{out}' holds no report that could be replaced ({error}) Choose another name."
        ) from error


def _exchange(staging: Path, out: Path) -> None:
    write_json(out / _EXCHANGE, {"by": "rankone demo --replace"})
    for name in (_RECORD, *_OPTIONAL):
        (out / name).unlink(missing_ok=True)
    if (out / EDIT).exists():
        remove_artifact(out / EDIT, "edit")
    files = (p for p in staging.rglob("*") if p.is_file())
    for file in sorted(files, key=lambda path: (path == staging / _RECORD, path)):
        place = out / file.relative_to(staging)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)
    (out / _EXCHANGE).unlink()
