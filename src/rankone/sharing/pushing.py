"""Sending an artefact to the Hub: verified first, in one commit, with a card; nothing pickled, nothing half there."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.errors import EntryNotFoundError

from rankone.core.artifact import MANIFEST, Artifact, open_artifact
from rankone.core.errors import RankOneError
from rankone.core.files import read_json
from rankone.runtime import hub
from rankone.runtime.progress import log
from rankone.sharing.answers import asking
from rankone.sharing.card import card
from rankone.sharing.fetching import refuse_pickles
from rankone.sharing.names import Remote, remote
from rankone.sharing.requests import PushReply, PushRequest

CARD = "README.md"


def push(request: PushRequest) -> PushReply:
    """Send an artefact; of its files those that the repository has already are not sent again.

    Raises RankOneError for a damaged artefact, pickles, a name that is no repository, a Hub out of reach, a missing
    login, and a repository that holds something else.
    """
    artifact = open_artifact(request.artefact)
    where = _repository(request.repo)
    files = {name: (artifact.path / name).stat().st_size for name in (*artifact.manifest.files, MANIFEST)}
    refuse_pickles(list(files), str(request.artefact))
    said = card(artifact, where.repo)
    commit = None
    if not request.dry_run:
        _require_hub(where)
        log.info("sending %d files, %.1f MiB, to %s", len(files), sum(files.values()) / 2**20, where)
        commit = _send(artifact, where, request, said)
    return PushReply(
        repo=where.repo,
        kind=artifact.manifest.kind,
        files=files,
        size=sum(files.values()),
        private=not request.public,
        commit=commit,
        address=f"{constants.ENDPOINT}/{where.repo}",
        card=said,
    )


def _repository(name: str) -> Remote:
    where = remote(name) if not Path(name).exists() else None
    if where is None or where.revision is not None:
        raise RankOneError(f"'{name}' is no name of a repository: write OWNER/NAME.")
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
        _refuse_other_kind(where, artifact.manifest.kind, there)
        names = [*artifact.manifest.files, MANIFEST]
        added = [CommitOperationAdd(name, artifact.path / name) for name in names]
        if CARD not in names:
            added.append(CommitOperationAdd(CARD, said.encode()))
        gone = there - {*names, CARD, ".gitattributes"}
        removed = [CommitOperationDelete(name) for name in sorted(gone)]
        message = request.message or f"{artifact.manifest.kind} {artifact.fingerprint[:12]}"
        done = api.create_commit(where.repo, [*added, *removed], commit_message=message)
    return str(done.oid)


def _refuse_other_kind(where: Remote, kind: str, there: set[str]) -> None:
    """Raise where the repository holds files that are not an earlier artefact of this kind."""
    others = there - {CARD, ".gitattributes"}
    if not others:
        return
    held: object = None
    if MANIFEST in others:
        try:
            path = HfApi(constants.ENDPOINT).hf_hub_download(where.repo, MANIFEST)
            held = read_json(Path(path)).get("kind")
        except (EntryNotFoundError, RankOneError):
            held = None
    if held != kind:
        what = f"an artefact of kind '{held}'" if held else f"other files ({sorted(others)[0]})"
        raise RankOneError(
            f"'{where}' holds {what}, and a {kind} was to be sent. Nothing was; choose another name."
        )
