"""How anything is saved: a directory written atomically, with a manifest that holds every file's hash.

An artefact is a directory of safetensors, Parquet and JSON files plus `manifest.json` (kind, schema
version, SHA-256 of every file, provenance). It appears under its name in one rename or not at all, and
it is verified against its manifest before anything in it is used. Nothing is pickled.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from rankone.core.claims import claim, require_claim, retired, staging_folder
from rankone.core.errors import RankOneError
from rankone.core.files import (
    appeared,
    atomic_file,
    file_hash,
    json_text,
    read_json,
    require_folder,
    write_json,
    write_text,
)
from rankone.core.manifest import (
    MANIFEST,
    Manifest,
    artefact_kind,
    check_files,
    check_nothing_else,
    hashed_files,
    hidden_beside,
    read_manifest,
)
from rankone.core.provenance import environment, git_revision
from rankone.core.reading import reading
from rankone.core.schemas.kinds import schema_of
from rankone.core.schemas.schema import Document

if TYPE_CHECKING:
    import torch

    from rankone.core.schemas.stored import StoredTable

__all__ = [
    "MANIFEST",
    "Artifact",
    "Manifest",
    "Provenance",
    "atomic_file",
    "claimed",
    "column_of",
    "copy_artifact",
    "environment",
    "file_hash",
    "git_revision",
    "new_artifact",
    "new_folder",
    "open_artifact",
    "read_json",
    "read_manifest",
    "refuse_existing",
    "remove_artifact",
    "require_folder",
    "write_json",
    "write_text",
]

# What an artefact says of its making: plain values, by name.
Provenance = Mapping[str, object]


@dataclass(frozen=True)
class Artifact:
    """A verified artefact directory."""

    path: Path
    manifest: Manifest

    @property
    def provenance(self) -> dict[str, JsonValue]:
        """How it was made: plain values by name, those of the environment and those that its kind adds."""
        return dict(self.manifest.provenance)

    def json(self, name: str = "config.json") -> Document:
        """Read one of its JSON files, as the schema version of today would hold it."""
        document = read_json(self._listed(name))
        return schema_of(self.manifest.kind).current(name, document, self.manifest.schema_version)

    def tensors(self, name: str = "tensors.safetensors") -> dict[str, torch.Tensor]:
        """Load one of its safetensors files; NaN and infinity are refused."""
        from rankone.core.tensors import (
            read_tensors,
        )  # PyTorch takes seconds to import; JSON needs none of it

        return read_tensors(self._listed(name))

    def table(self, name: str) -> StoredTable:
        """One of its Parquet tables, `NAME.parquet` of the schema version of today."""
        from rankone.core.schemas.stored import (
            StoredTable,  # PyArrow takes long to import; JSON needs none of it
        )

        schema, version = schema_of(self.manifest.kind), self.manifest.schema_version
        return StoredTable(self._listed(schema.file(f"{name}.parquet", version)), schema.columns(version))

    def __contains__(self, name: str) -> bool:
        """Whether it has a file of this name."""
        return name in self.manifest.files

    def _listed(self, name: str) -> Path:
        if name not in self.manifest.files:
            raise RankOneError(
                f"'{self.path}' lacks its file '{name}'. Restore the artefact from its source."
            )
        return self.path / name

    @property
    def fingerprint(self) -> str:
        """A hash over the hashes of all its files: equal exactly when the contents are."""
        return self.manifest.fingerprint

    def manifest_bytes(self) -> bytes:
        """Its `manifest.json` as it lies there; of one that has none on disk, as it would be written."""
        path = self.path / MANIFEST
        return (
            path.read_bytes()
            if path.is_file()
            else json_text(self.manifest.model_dump(), constants=True).encode()
        )


def column_of(folder: Path, kind: str, table: str, column: str) -> list[str]:
    """A column of words of an artefact's table, not verified and without PyTorch: for a first look at names.

    Empty where it cannot be read, which is said better by what opens the artefact.
    """
    try:
        artifact = Artifact(folder, read_manifest(folder, kind))
        with reading(folder):
            return artifact.table(table).column(column)
    except RankOneError:
        return []


def refuse_existing(path: Path) -> None:
    """Raise if `path` exists (nothing is overwritten silently) or could not be made: said before the work, not after."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        _refuse_inside(path)
        require_folder(path.parent)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise RankOneError(f"output '{path}' cannot be made: {said}. Choose another name.") from error
    else:
        raise RankOneError(
            f"output '{path}' already exists. Choose another name, or remove it first: "
            "nothing is overwritten."
        )


def _refuse_inside(path: Path) -> None:
    """Raise for a place inside an artefact: what is written there is not in its manifest, and it would no longer open."""
    for folder in path.absolute().parents:
        if kind := artefact_kind(folder):
            raise RankOneError(
                f"output '{path}' would lie inside '{folder}', an artefact of kind '{kind}', which then holds what its "
                "manifest does not list. Choose a place beside it."
            )


@contextmanager
def claimed(path: Path | str) -> Generator[Path]:
    """A place for something new, held while the block runs: `refuse_existing`, and no other run may write there."""
    path = Path(path)
    refuse_existing(path)
    with claim(path):
        refuse_existing(path)
        yield path


@contextmanager
def new_folder(path: Path | str) -> Generator[Path]:
    """Yield an empty folder that becomes `path`, which must not exist, when the block ends well; else nothing is left."""
    with claimed(path) as out, _staged(out) as staging:
        yield staging


@contextmanager
def new_artifact(
    path: Path | str, kind: str, provenance: Provenance | None = None, replace: bool = False
) -> Generator[Path]:
    """Yield an empty staging directory that becomes the artefact `path` when the block ends well.

    A failure or a kill inside the block leaves what stood at `path` untouched, and so does the end of the block where
    something has appeared at `path` meanwhile. With `replace` an artefact of the same kind may stand there and is
    exchanged at the end.
    """
    path = Path(path)
    replaced: Manifest | None = None
    if not (replace and path.exists()):
        refuse_existing(path)
    with claim(path):
        if replace and path.exists():
            replaced = open_artifact(path, kind).manifest
        else:
            refuse_existing(path)
        with _staged(path, replaced) as staging:
            yield staging
            _write_manifest(staging, kind, provenance or {})


@contextmanager
def _staged(path: Path, replaced: Manifest | None = None) -> Generator[Path]:
    """A folder that becomes the claimed `path`, in place of `replaced`, when the block ends well; else it goes."""
    staging = staging_folder(path)
    try:
        yield staging
        staging.chmod(0o755)
        require_claim(path)
        _swap_in(staging, path, replaced)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_manifest(directory: Path, kind: str, provenance: Provenance) -> None:
    manifest = {
        "kind": kind,
        "schema_version": schema_of(kind).version,
        "files": hashed_files(directory),
        "provenance": {**environment(), **provenance},
    }
    write_json(directory / MANIFEST, manifest)


def _swap_in(staging: Path, path: Path, replaced: Manifest | None) -> None:
    """Rename `staging` to `path`; what stood there at the start goes only after the new one is in place."""
    if replaced is None:
        _move_in(staging, path)
        return
    if not path.exists() or read_manifest(path) != replaced:
        raise appeared(path)
    check_nothing_else(path, replaced)
    for kept in hidden_beside(path, replaced):
        copy = shutil.copytree if kept.is_dir() else shutil.copy2
        copy(kept, staging / kept.name)
    old = retired(path)
    path.rename(old)
    try:
        staging.rename(path)
    except BaseException:
        old.rename(path)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def _move_in(staging: Path, path: Path) -> None:
    if path.exists():
        raise appeared(path)
    try:
        staging.rename(path)
    except OSError as error:
        # Appeared after the look: a folder with something in it, or a file, is never replaced by a rename.
        raise appeared(path) from error


def open_artifact(path: Path | str, kind: str | None = None) -> Artifact:
    """Verify the artefact at `path` (manifest, kind, schema, every file and its hash) and return it."""
    path = Path(path)
    manifest = read_manifest(path, kind)
    check_files(path, manifest)
    return Artifact(path, manifest)


def remove_artifact(path: Path, kind: str) -> None:
    """Remove the files that an artefact's manifest lists, and its folders where nothing else is in them.

    Cut off by a kill, it can be called again. RankOneError for what is not an artefact of the kind.
    """
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
        return
    manifest = read_manifest(path, kind)
    for name in (*manifest.files, MANIFEST):
        (path / name).unlink(missing_ok=True)
    for name in sorted(manifest.files, reverse=True):
        for folder in (path / name).relative_to(path).parents:
            with suppress(OSError):  # Something else is in it.
                (path / folder).rmdir()


def copy_artifact(artifact: Artifact, path: Path | str) -> Path:
    """The artefact once more at `path`, its manifest too; RankOneError for one that was altered since it was opened."""
    check_files(artifact.path, artifact.manifest)
    with new_folder(path) as staging:
        for name in artifact.manifest.files:
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artifact.path / name, staging / name)
        (staging / MANIFEST).write_bytes(artifact.manifest_bytes())
    return Path(path)
