"""What a result needs to be reproduced: versions, machine, and the revision of RankOne's own source."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from pydantic import JsonValue

from rankone.core.config import Record

_SOURCE = Path(__file__).resolve().parents[1]
_PACKAGES = ("rankone", "torch", "transformers", "tokenizers", "numpy")


def git_revision(source: Path = _SOURCE) -> str | None:
    """Revision of the source tree this package runs from, `+dirty` where it has changes.

    None outside git, and where the repository is another's in which RankOne is merely installed: a virtual environment,
    a vendored copy that it ignores.
    """
    if not _is_tracked(source):
        return None
    revision = _git(source, "rev-parse", "HEAD")
    dirty = _git(source, "status", "--porcelain", "--untracked-files=no")
    return None if revision is None else revision + ("+dirty" if dirty else "")


class Environment(Record):
    """What `environment` says, as a record: versions by package, None for one that is not installed."""

    versions: dict[str, str | None]
    python: str
    machine: str
    threads: int
    git_revision: str | None = None
    created: str


def environment() -> dict[str, JsonValue]:
    """Versions and machine facts that a result needs to be reproduced."""
    import torch

    versions, revision = _loaded()
    return {
        # torch itself says which build it is (+cpu, +cu130).
        "versions": {**versions, "torch": str(torch.__version__)},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "git_revision": revision,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def _loaded() -> tuple[dict[str, str | None], str | None]:
    """Versions and our revision, looked up once: what has been imported stays whatever is installed or committed since.

    It takes four processes of git, as long as many an artefact takes to write.
    """
    return {name: _version(name) for name in _PACKAGES}, git_revision()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _is_tracked(source: Path) -> bool:
    """Whether a repository tracks this package as its own: `src/rankone` of a tree with our pyproject.toml."""
    root = _git(source, "rev-parse", "--show-toplevel")
    if root is None or source != Path(root).resolve() / "src" / "rankone":
        return False
    return _git(source, "ls-files", "--error-unmatch", "__init__.py") is not None and _is_ours(Path(root))


def _is_ours(root: Path) -> bool:
    import tomllib

    try:
        project = tomllib.loads((root / "pyproject.toml").read_text("utf8"))
    except (OSError, ValueError):
        return False
    return project.get("project", {}).get("name") == "rankone"


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says in a folder; None where it fails or is not there."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, encoding="utf8", check=True
        )
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
