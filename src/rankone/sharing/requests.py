"""What sending an artefact is asked and answers; importable without PyTorch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from rankone.core.fields import Positional, Request
from rankone.render.reply import Reply
from rankone.render.tables import Table


def _repository(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name):
        raise ValueError(f"'{name}' names no repository: write OWNER/NAME, as me/german-edit")
    return name


def _top_folder(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise ValueError(f"'{name}' is not a folder at the top of a repository: write one word, as harvest")
    return name


class PushRequest(Request):
    """An artefact and the repository it is to stand in."""

    artefact: Annotated[Path, Positional()] = Field(
        description="folder of an artefact of any kind, or of results"
    )
    repo: Annotated[str, Positional(), AfterValidator(_repository)] = Field(
        description="repository, OWNER/NAME; made where it is missing"
    )
    folder: Annotated[str | None, AfterValidator(_top_folder)] = Field(
        None, description="folder of the repository, for several artefacts in one; default its top"
    )
    public: bool = Field(False, description="a new repository can be seen by all; default private")
    message: str | None = Field(None, description="message of the commit")
    dry_run: bool = Field(
        False, description="say what would be sent and show the card; nothing leaves this machine"
    )


class PushReply(Reply):
    """What was sent: one commit. folder: '' is the top; size: bytes; commit: None with --dry-run."""

    repo: str
    folder: str = ""
    kind: str
    files: dict[str, int]
    size: int
    private: bool
    commit: str | None
    address: str
    card: str

    def tables(self) -> Sequence[Table]:
        """The files and their sizes."""
        rows = [[name, f"{size / 2**20:.2f} MiB"] for name, size in self.files.items()]
        return (Table.of(f"{self.repo}: {self.kind}, {self.size / 2**20:.2f} MiB", ["file", "size"], rows),)

    def lines(self) -> Sequence[str]:
        """Where it is now, and how to open this very commit."""
        if self.commit is None:
            return ["Nothing was sent. The card:", "", *self.card.splitlines()]
        at = self.address.replace("/tree/main/", f"/tree/{self.commit}/") if self.folder else None
        return [f"sent to {self.address}", f"this commit: {at or f'{self.repo}@{self.commit}'}"]
