"""An artefact by folder, Hub id or address: verified, pinned to a commit, from the cache where that has it whole."""

from __future__ import annotations

import re
from pathlib import Path

from rankone.core.errors import RankOneError
from rankone.core.manifest import MANIFEST, check_files, read_manifest
from rankone.runtime import hub
from rankone.sharing.names import Remote, remote

# Files of these kinds run code when they are read, so they are never brought.
PICKLED = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib", ".npz", ".msgpack", ".h5")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class NoArtefact(RankOneError):
    """A repository without any artefact."""


class SeveralArtefacts(RankOneError):
    """A repository of folders with an artefact each, none of which is meant by its name alone."""


def local(name: str | Path, kind: str | None = None) -> Path:
    """The folder of an artefact: a path as it is; what is on the Hub from the cache, or else brought there.

    kind: what it must be; in a repository that holds several artefacts, the folder of that name is meant. RankOneError for
    what is private, missing, of another kind, damaged or holds pickles, and where the cache lacks it and the Hub cannot be
    reached. Only the files of the manifest are brought.
    """
    if not isinstance(name, (str, Path)):
        raise RankOneError(f"an artefact is named by its folder, Hub id or address, not {name!r}.")
    if name == "":
        raise RankOneError(
            "an artefact's name is empty: give its folder (. for the current one), Hub id or address."
        )
    where = remote(name)
    if where is None:
        return Path(name)
    folder = _cached(where, kind)
    if folder is None:
        if not hub.reachable():
            raise RankOneError(
                f"'{where}' is not a folder, the cache does not hold it whole, and the Hub cannot be reached. Check the "
                "path or the network."
            )
        folder = _brought(where, kind)
    read_manifest(folder, kind)
    return folder


def _places(where: Remote, kind: str | None) -> list[Remote]:
    """Where in the repository the artefact may lie: at the top, else in the folder that its kind gives the name."""
    if where.folder or kind is None:
        return [where]
    return [where, where._replace(folder=kind)]


def _cached(where: Remote, kind: str | None) -> Path | None:
    """The snapshot in the cache, if every file of its manifest is there; what is damaged is left to the reader to say."""
    from huggingface_hub import try_to_load_from_cache

    for place in _places(where, kind):
        manifest = try_to_load_from_cache(place.repo, place.inside(MANIFEST), revision=place.revision)
        if isinstance(manifest, str):
            folder = Path(manifest).parent
            return folder if all((folder / name).is_file() for name in read_manifest(folder).files) else None
    return None


def _brought(where: Remote, kind: str | None) -> Path:
    """The manifest first, so that a wrong kind is refused before the rest is brought; all of one commit."""
    from huggingface_hub import HfApi, constants, snapshot_download

    from rankone.sharing.answers import asking

    endpoint = constants.ENDPOINT
    with asking(where):
        commit = where.revision
        if commit is None or not _COMMIT.fullmatch(commit):
            commit = HfApi(endpoint).model_info(where.repo, revision=where.revision, timeout=20).sha
        place, manifest = _manifest(where._replace(revision=commit), kind)
        files = read_manifest(manifest.parent, kind).files
        refuse_pickles(list(files), str(where))
        wanted = [_literal(place.inside(name)) for name in (MANIFEST, *files)]
        snapshot = snapshot_download(where.repo, revision=commit, allow_patterns=wanted, endpoint=endpoint)
    folder = Path(snapshot) / place.folder
    if where.revision != commit:
        _remember(where, str(commit))
    check_files(folder, read_manifest(folder, kind))
    return folder


def _manifest(where: Remote, kind: str | None) -> tuple[Remote, Path]:
    """Where the artefact lies in a commit, and its manifest, brought; RankOneError that names the folders if nowhere."""
    from huggingface_hub import HfApi, constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    endpoint = constants.ENDPOINT
    for place in _places(where, kind):
        try:
            name = place.inside(MANIFEST)
            return place, Path(hf_hub_download(where.repo, name, revision=where.revision, endpoint=endpoint))
        except EntryNotFoundError:
            continue
    held = folders_of(HfApi(endpoint).list_repo_files(where.repo, revision=where.revision))
    if not held:
        raise NoArtefact(f"'{where}' holds no RankOne artefact (no {MANIFEST}). Check the name.")
    wanted = f"no {kind}" if kind else "several artefacts"
    raise SeveralArtefacts(
        f"'{where.repo}' holds {wanted}; it has {', '.join(held)}. Name one by its address: "
        f"{endpoint}/{where.repo}/tree/{where.revision}/{held[0]}."
    )


def folders_of(files: list[str]) -> list[str]:
    """The folders at the top of a repository that hold an artefact each, by the names of all its files."""
    return sorted(
        name.removesuffix(f"/{MANIFEST}") for name in files if re.fullmatch(rf"[^/]+/{MANIFEST}", name)
    )


def _remember(where: Remote, commit: str) -> None:
    """Note in the cache which commit a branch stood at, as the Hub's libraries do: next time it is opened from there."""
    from huggingface_hub.file_download import repo_folder_name

    folder = hub.cache_folder() / repo_folder_name(repo_id=where.repo, repo_type="model") / "refs"
    reference = folder / (where.revision or "main")
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(commit, "utf8")


def refuse_pickles(names: list[str], where: str) -> None:
    """Raise for a file that would run code when it is read."""
    bad = [name for name in names if name.lower().endswith(PICKLED)]
    if bad:
        raise RankOneError(
            f"'{where}' holds '{bad[0]}', a format that can run code: RankOne neither downloads nor sends it."
        )


def _literal(name: str) -> str:
    """A pattern that matches this name alone."""
    return re.sub(r"([*?[])", r"[\1]", name)
