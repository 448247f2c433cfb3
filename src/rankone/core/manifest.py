"""`manifest.json`: what kind of artefact a folder is, the hash of its every file, and how it was made.

Hashes say that files are unaltered, not that they are right: the shape of the manifest itself is checked here, what
files hold by their readers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, cast

from pydantic import Field, JsonValue, StringConstraints, field_validator

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.files import file_hash, parse_json, read_text
from rankone.core.paths import typed
from rankone.core.schemas.kinds import schema_of

MANIFEST = "manifest.json"
_ADAPTER, _CONFIG = "adapter_config.json", "config.json"
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Config):
    """The manifest of an artefact; `provenance` holds the environment and what the kind adds, as plain values."""

    kind: str
    schema_version: int = Field(strict=True)
    files: dict[str, Digest] = Field(min_length=1)
    provenance: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """A hash over the hashes of all files: equal exactly when the contents are."""
        return hashlib.sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            path = PurePosixPath(name)
            outside = path.is_absolute() or ".." in path.parts or bool(PureWindowsPath(name).drive)
            if outside or "\\" in name or "\0" in name or name == MANIFEST:
                raise ValueError(f"'{name}' is not a file inside the artefact")
        return files


def read_manifest(path: Path, kind: str | None = None) -> Manifest:
    """The manifest of the artefact at `path`, its kind and schema checked; its other files are not read."""
    if not path.is_dir():
        raise RankOneError(f"no artefact at '{path}': not a directory. {_meant(path)}")
    try:
        values = parse_json(read_text(path / MANIFEST))
        manifest = Manifest.checked(values, str(path / MANIFEST))
    except FileNotFoundError:
        known = what_it_is(path)
        wanted = f"an artefact of kind '{kind}'" if kind is not None else "an artefact"
        raise RankOneError(
            f"'{path}' is {known}, but {wanted} is needed here. Check the path."
            if known
            else f"'{path}' has no {MANIFEST}: it is not a RankOne artefact, or its writing was cut off."
        ) from None
    except (OSError, ValueError, RankOneError) as error:
        raise RankOneError(
            f"'{path}/{MANIFEST}' is damaged ({error}). Restore the artefact from its source."
        ) from error
    if kind is not None and manifest.kind != kind:
        raise RankOneError(
            f"'{path}' is of kind '{manifest.kind}', but '{kind}' is needed here. Check the path."
        )
    schema_of(manifest.kind).require(manifest.schema_version, str(path))
    return manifest


def _meant(path: Path) -> str:
    """What to do where a part with its scale stands in the place of a saved edit, else to look again."""
    if "=" in path.name:
        return f"A scale becomes an artefact by `rankone edit {typed(path)} --out DIR`: name that folder."
    return "Check the path."


def what_it_is(path: Path) -> str:
    """A noun phrase for a folder of a known kind, by the names of its files; '' for any other."""
    if kind := artefact_kind(path):
        return f"an artefact of kind '{kind}'"
    if (path / _ADAPTER).is_file():
        return "a LoRA adapter as PEFT writes it (`rankone project` reads one)"
    if (path / _CONFIG).is_file() and _value(path / _CONFIG, "model_type"):
        return "a model"
    return ""


def artefact_kind(path: Path) -> str:
    """Kind of the artefact that a folder is by its manifest, which is not checked; '' for any other folder."""
    return _value(path / MANIFEST, "kind") if (path / MANIFEST).is_file() else ""


def is_no_model(path: Path) -> bool:
    """Whether a folder with a config.json is an artefact that holds no model."""
    return (path / MANIFEST).is_file() and not _value(path / _CONFIG, "model_type")


def _value(file: Path, key: str) -> str:
    """A string at the top of a JSON file; '' where there is none."""
    try:
        values: object = json.loads(read_text(file))
    except (OSError, ValueError, RecursionError):  # broken: its reader says how
        return ""
    value = cast("dict[str, object]", values).get(key) if isinstance(values, dict) else None
    return value if isinstance(value, str) else ""


def hashed_files(directory: Path) -> dict[str, str]:
    """Path → SHA-256 of every file below a directory."""
    files = sorted(p for p in directory.rglob("*") if p.is_file())
    return {p.relative_to(directory).as_posix(): file_hash(p) for p in files}


def check_files(directory: Path, manifest: Manifest) -> None:
    """Raise unless the artefact holds the files of its manifest, unaltered, and no others.

    Hidden ones aside, and the bytecode of its own Python files: installing a wheel compiles those of the built-in model.
    """
    check_listed(directory, manifest)
    check_nothing_else(directory, manifest)


def check_nothing_else(directory: Path, manifest: Manifest) -> None:
    """Raise where the artefact holds a file that its manifest does not list, as `check_files` does."""
    for name in _unlisted(directory, manifest):
        if not name.parts[0].startswith("."):
            raise RankOneError(
                f"'{directory}' holds '{name.as_posix()}', which its manifest does not list. Restore the artefact from "
                "its source, or move that file elsewhere."
            )


def hidden_beside(directory: Path, manifest: Manifest) -> list[Path]:
    """Hidden entries at the top of an artefact that its manifest does not list: somebody else's (`.git`)."""
    tops = {name.parts[0] for name in _unlisted(directory, manifest) if name.parts[0].startswith(".")}
    return [directory / name for name in sorted(tops)]


def _unlisted(directory: Path, manifest: Manifest) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        if path.is_dir() or name.as_posix() in (*manifest.files, MANIFEST):
            continue
        if _source_of(name) not in manifest.files:
            yield name


def check_listed(directory: Path, manifest: Manifest) -> None:
    """Raise unless the files of the manifest are there, unaltered; others may lie beside them."""
    for name, expected in manifest.files.items():
        _check_file(directory, name, expected)


def _source_of(name: Path) -> str | None:
    """`a/b.py` of `a/__pycache__/b.cpython-313.pyc`; None for what is not bytecode."""
    if name.suffix != ".pyc" or name.parent.name != "__pycache__":
        return None
    return (name.parent.parent / f"{name.name.partition('.')[0]}.py").as_posix()


def _check_file(directory: Path, name: str, expected: str) -> None:
    target = directory / name
    if not target.is_file():
        raise RankOneError(f"'{directory}' lacks its file '{name}'. Restore the artefact from its source.")
    try:
        actual = file_hash(target)
    except OSError as error:
        raise RankOneError(f"cannot read '{target}' ({error}). Check its permissions.") from error
    if actual != expected:
        raise RankOneError(
            f"'{target}' was altered or truncated: its hash is {actual[:12]}…, "
            f"the manifest says {expected[:12]}…. Restore the artefact from its source."
        )
