"""What is opened from an artefact and stays as it lies there: it is saved by a copy, and sent as it is."""

from __future__ import annotations

from pathlib import Path

from rankone.core.artifact import Artifact, copy_artifact
from rankone.sharing.requests import PushReply


class Stored:
    """The base of what is read from an `artifact` and never changed in memory."""

    artifact: Artifact

    def save_pretrained(self, path: Path | str) -> Path:
        """A copy of the artefact at `path`, with the same fingerprint; RankOneError where something stands there, and for a
        file that was altered since it was opened."""
        return copy_artifact(self.artifact, path)

    def push_to_hub(
        self, repo: str, public: bool = False, message: str | None = None, folder: str | None = None
    ) -> PushReply:
        """Send the artefact to a repository of the Hub, with a card of its tables; errors as those of `rankone push`.

        folder: of a repository that holds several artefacts.
        """
        from rankone.sharing.pushing import push_saved

        return push_saved(self.artifact.path, repo, public, message, folder)
