"""Sending an artefact to the Hub: verified first, in one commit, with a card; nothing pickled, nothing half there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants

from rankone.core.artifact import MANIFEST, Artifact, open_artifact
from rankone.core.errors import RankOneError
from rankone.core.files import read_json
from rankone.runtime import hub
from rankone.runtime.progress import log
from rankone.runtime.scratch import scratch
from rankone.sharing.answers import asking
from rankone.sharing.card import card, shelf_card
from rankone.sharing.fetching import folders_of, refuse_pickles
from rankone.sharing.names import Remote, remote
from rankone.sharing.requests import PushReply, PushRequest
from rankone.sharing.results import is_results, sealed

CARD = "README.md"
_ATTRIBUTES = ".gitattributes"


def push(request: PushRequest) -> PushReply:
    """Send an artefact; of its files those that the repository has already are not sent again.

    Raises RankOneError for a damaged artefact, pickles, a name that is not a repository, a Hub out of reach, a missing
    login, and a repository that holds something else.
    """
    path = request.artefact
    artifact = sealed(path) if is_results(path) else open_artifact(path)
    where = _repository(request.repo)._replace(folder=request.folder or "")
    manifest = artifact.manifest_bytes()
    files = {name: (artifact.path / name).stat().st_size for name in artifact.manifest.files}
    files[MANIFEST] = len(manifest)
    refuse_pickles(list(files), str(path))
    said = card(artifact, str(where) if not where.folder else f"{constants.ENDPOINT}/{where}")
    commit = None
    if not request.dry_run:
        _require_hub(where)
        log.info("sending %d files, %.1f MiB, to %s", len(files), sum(files.values()) / 2**20, where)
        commit = _send(artifact, where, request, said)
    return PushReply(
        repo=where.repo,
        folder=where.folder,
        kind=artifact.manifest.kind,
        files=files,
        size=sum(files.values()),
        private=not request.public,
        commit=commit,
        address=f"{constants.ENDPOINT}/{where}",
        card=said,
    )


def push_saved(artefact: Path, repo: str, public: bool, message: str | None, folder: str | None) -> PushReply:
    """Send what lies at `artefact`."""
    given = {"repo": repo, "public": public, "message": message, "folder": folder}
    return push(PushRequest.checked({"artefact": artefact, **given}, "push_to_hub"))


def push_made(
    write: Callable[[Path], object], repo: str, public: bool, message: str | None, folder: str | None
) -> PushReply:
    """Send what `write` makes at a path it is given."""
    with scratch("push") as place:
        write(place / "artefact")
        return push_saved(place / "artefact", repo, public, message, folder)


def _repository(name: str) -> Remote:
    where = remote(name) if not Path(name).exists() else None
    if where is None or where.revision is not None:
        raise RankOneError(f"'{name}' is not the name of a repository: write OWNER/NAME.")
    return where


def _require_hub(where: Remote) -> None:
    if not hub.reachable():
        raise RankOneError(
            f"the Hub cannot be reached (or HF_HUB_OFFLINE is set), so nothing was sent to '{where}'."
        )


def _send(artifact: Artifact, where: Remote, request: PushRequest, said: str) -> str:
    api = HfApi(constants.ENDPOINT)
    with asking(where):
        api.create_repo(where.repo, private=not request.public, exist_ok=True)
        there = set(api.list_repo_files(where.repo))
        _refuse_other_layout(where, there)
        here = {name for name in there if name.startswith(f"{where.folder}/")} if where.folder else there
        _refuse_other_kind(where, artifact.manifest.kind, here)
        names = [where.inside(name) for name in artifact.manifest.files]
        added = [
            CommitOperationAdd(where.inside(name), artifact.path / name) for name in artifact.manifest.files
        ]
        added.append(CommitOperationAdd(where.inside(MANIFEST), artifact.manifest_bytes()))
        if CARD not in artifact.manifest.files:
            added.append(CommitOperationAdd(where.inside(CARD), said.encode()))
        if where.folder:
            added += _shelf(where, artifact.manifest.kind, there)
        gone = here - {*names, where.inside(MANIFEST), where.inside(CARD), _ATTRIBUTES}
        removed = [CommitOperationDelete(name) for name in sorted(gone)]
        message = request.message or f"{artifact.manifest.kind} {artifact.fingerprint[:12]}"
        done = api.create_commit(where.repo, [*added, *removed], commit_message=message)
    return str(done.oid)


def _shelf(where: Remote, kind: str, there: set[str]) -> list[CommitOperationAdd]:
    """The card at the top of a repository of several artefacts, unless somebody wrote one of their own."""
    if CARD in there and "library_name: rankone" not in _downloaded(where, CARD).read_text("utf8"):
        return []
    kinds = {folder: _kind(where._replace(folder=folder)) for folder in folders_of(sorted(there))}
    said = shelf_card(f"{constants.ENDPOINT}/{where.repo}", {**kinds, where.folder: kind})
    return [CommitOperationAdd(CARD, said.encode())]


def _refuse_other_layout(where: Remote, there: set[str]) -> None:
    """Raise where a repository of one artefact is to get a folder, or one of folders an artefact at its top."""
    folders = folders_of(sorted(there))
    if where.folder and MANIFEST in there:
        raise RankOneError(
            f"'{where.repo}' holds one artefact at its top, and another was to be sent to its folder '{where.folder}'. "
            "Nothing was; choose another name."
        )
    if folders and not where.folder:
        raise RankOneError(
            f"'{where.repo}' holds several artefacts in folders ({', '.join(folders)}). Nothing was sent; give --folder, or "
            "choose another name."
        )


def _refuse_other_kind(where: Remote, kind: str, there: set[str]) -> None:
    """Raise where the place holds files that are not an earlier artefact of this kind."""
    others = there - {where.inside(CARD), _ATTRIBUTES}
    if not others:
        return
    held = _kind(where) if where.inside(MANIFEST) in others else None
    if held != kind:
        what = f"an artefact of kind '{held}'" if held else f"other files ({sorted(others)[0]})"
        raise RankOneError(
            f"'{where}' holds {what}, and a {kind} was to be sent. Nothing was; choose another name."
        )


def _kind(where: Remote) -> str | None:
    """What kind an artefact of the repository is; None where its manifest cannot be read."""
    try:
        kind = read_json(_downloaded(where, where.inside(MANIFEST))).get("kind")
    except RankOneError:
        return None
    return kind if isinstance(kind, str) else None


def _downloaded(where: Remote, name: str) -> Path:
    return Path(HfApi(constants.ENDPOINT).hf_hub_download(where.repo, name))
