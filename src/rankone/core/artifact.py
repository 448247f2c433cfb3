"""How anything is saved: a directory written atomically, with a manifest that holds every file's hash.

An artefact is a directory of safetensors, Parquet and JSON files plus `manifest.json` (kind, schema
version, SHA-256 of every file, provenance). It appears under its name in one rename or not at all, and
it is verified against its manifest before anything in it is used. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rankone.core.errors import RankOneError

if TYPE_CHECKING:
    import torch

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
# What an artefact says of its making: plain values, by name.
Provenance = Mapping[str, object]


@dataclass(frozen=True)
class Artifact:
    """A verified artefact directory."""

    path: Path
    manifest: dict[str, Any]

    def json(self, name: str = "config.json") -> dict[str, Any]:
        """Read one of its JSON files."""
        return json.loads((self.path / name).read_text("utf8"))

    def tensors(self, name: str = "tensors.safetensors") -> dict[str, torch.Tensor]:
        """Load one of its safetensors files."""
        from safetensors.torch import load_file  # PyTorch takes seconds to import; JSON needs none of it

        return load_file(self.path / name)

    @property
    def fingerprint(self) -> str:
        """A hash over the hashes of all its files: equal exactly when the contents are."""
        return hashlib.sha256(json.dumps(self.manifest["files"], sort_keys=True).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def git_revision() -> str | None:
    """Revision of the source tree this package runs from, `+dirty` where it has changes; None outside git."""
    here = Path(__file__).resolve().parent
    try:
        revision = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return revision + ("+dirty" if dirty else "")


def environment() -> dict[str, Any]:
    """Versions and machine facts that a result needs to be reproduced."""
    import torch

    packages = ("rankone", "torch", "transformers", "tokenizers", "numpy")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "versions": versions,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "git_revision": git_revision(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def refuse_existing(path: Path) -> None:
    """Raise if `path` exists (nothing is overwritten silently) or could not be made: said before the work, not after."""
    if path.exists():
        raise RankOneError(
            f"output '{path}' already exists. Choose another name, or remove it first: "
            "nothing is overwritten."
        )
    require_folder(path.parent)


def require_folder(path: Path) -> None:
    """Raise unless `path` is a directory that can be written in, or can become one."""
    folder = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not folder.is_dir():
        raise RankOneError(f"'{folder}' is a file: nothing can be written below it. Choose another place.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RankOneError(
            f"'{folder}' cannot be written in. Choose another place, or change its permissions."
        )


def read_json(path: Path, kind: type = dict) -> Any:
    """Read a JSON file that holds a `kind`; RankOneError names one that is missing, damaged or of another kind."""
    try:
        value = json.loads(path.read_text("utf8"))
    except FileNotFoundError:
        raise RankOneError(f"no file '{path}'. Check the path.") from None
    except (OSError, ValueError) as error:
        raise RankOneError(f"cannot read JSON from '{path}' ({error}). Write it again.") from error
    if not isinstance(value, kind):
        raise RankOneError(f"'{path}' must hold a JSON {kind.__name__}. Write it again.")
    return value


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically (temporary file in the same folder, then rename)."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically (temporary file in the same folder, then rename)."""
    with atomic_file(path) as stream:
        stream.write(text.encode())


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a stream whose content becomes the file `path`, in one rename, when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def new_artifact(
    path: Path | str, kind: str, provenance: Provenance | None = None, replace: bool = False
) -> Iterator[Path]:
    """Yield an empty staging directory that becomes the artefact `path` when the block ends well.

    A failure or a kill inside the block leaves what stood at `path` untouched. With `replace` an
    artefact of the same kind may stand there and is exchanged at the end.
    """
    path = Path(path)
    if replace and path.exists():
        open_artifact(path, kind)
    else:
        refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.partial-"))
    try:
        yield staging
        _write_manifest(staging, kind, provenance or {})
        staging.chmod(0o755)
        _swap_in(staging, path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_manifest(directory: Path, kind: str, provenance: Provenance) -> None:
    files = sorted(p for p in directory.rglob("*") if p.is_file())
    manifest = {
        "kind": kind,
        "schema_version": SCHEMA_VERSION,
        "files": {p.relative_to(directory).as_posix(): file_hash(p) for p in files},
        "provenance": {**environment(), **provenance},
    }
    write_json(directory / MANIFEST, manifest)


def _swap_in(staging: Path, path: Path) -> None:
    """Rename `staging` to `path`; what stood there goes only after the new one is in place."""
    if not path.exists():
        staging.rename(path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old-")) / "artifact"
    path.rename(old)
    try:
        staging.rename(path)
    except BaseException:
        old.rename(path)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def open_artifact(path: Path | str, kind: str | None = None) -> Artifact:
    """Verify the artefact at `path` (manifest, kind, schema, every hash) and return it."""
    path = Path(path)
    manifest = read_manifest(path, kind)
    for name, expected in manifest["files"].items():
        _check_file(path, name, expected)
    return Artifact(path, manifest)


def read_manifest(path: Path, kind: str | None = None) -> dict[str, Any]:
    """The manifest of the artefact at `path`, its kind and schema checked; its other files are not read."""
    if not path.is_dir():
        raise RankOneError(f"no artefact at '{path}': not a directory. Check the path.")
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf8"))
        found, version, _ = manifest["kind"], manifest["schema_version"], manifest["files"].items()
    except FileNotFoundError:
        raise RankOneError(
            f"'{path}' has no {MANIFEST}: it is no RankOne artefact, or its writing was cut off."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RankOneError(
            f"'{path}/{MANIFEST}' is damaged ({error}). Restore the artefact from its source."
        ) from error
    if version != SCHEMA_VERSION:
        raise RankOneError(
            f"'{path}' has schema version {version}; this RankOne reads {SCHEMA_VERSION}. "
            "Use the matching release."
        )
    if kind is not None and found != kind:
        raise RankOneError(f"'{path}' is of kind '{found}', but '{kind}' is needed here. Check the path.")
    return manifest


def _check_file(directory: Path, name: str, expected: str) -> None:
    target = directory / name
    if not target.is_file():
        raise RankOneError(f"'{directory}' lacks its file '{name}'. Restore the artefact from its source.")
    actual = file_hash(target)
    if actual != expected:
        raise RankOneError(
            f"'{target}' was altered or truncated: its hash is {actual[:12]}…, "
            f"the manifest says {expected[:12]}…. Restore the artefact from its source."
        )
