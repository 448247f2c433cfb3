"""What a name stands for that is not a folder: an artefact on the Hub, by `OWNER/NAME[@REVISION]` or its address."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from rankone.core.errors import RankOneError

_PART = r"[A-Za-z0-9][\w.-]*"
_ID = re.compile(rf"(?P<repo>{_PART}/{_PART})(@(?P<revision>[\w./-]+))?")
_ADDRESS = re.compile(
    rf"/(?P<repo>{_PART}/{_PART})(/(tree|blob|resolve)/(?P<revision>[^/]+)(/(?P<folder>{_PART}))?)?/?"
)


class Remote(NamedTuple):
    """A repository of the Hub and what of it is meant.

    revision: a commit, branch or tag; None is its main branch. folder: the one that holds the artefact; '' is the top.
    """

    repo: str
    revision: str | None = None
    folder: str = ""

    def __str__(self) -> str:
        if self.folder:
            return f"{self.repo}/tree/{self.revision or 'main'}/{self.folder}"
        return self.repo + (f"@{self.revision}" if self.revision else "")

    def inside(self, name: str) -> str:
        """The path in the repository of one of the artefact's files."""
        return f"{self.folder}/{name}" if self.folder else name


def remote(name: str | Path) -> Remote | None:
    """The repository that a name stands for; None for what is a path: something that is there, or lies in a folder that is.

    RankOneError for an address of another host than the Hub's.
    """
    text = str(name)
    if re.match(r"https?:/", text):
        return _of_address(text)
    match = _ID.fullmatch(text)
    if match is None or Path(text).exists() or Path(text).parent.is_dir():
        return None
    return Remote(match["repo"], match["revision"])


def _of_address(text: str) -> Remote:
    # A path object keeps one slash of two.
    address = urlsplit(re.sub(r"^(https?):/+", r"\1://", text))
    hosts = {
        urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).netloc,
        "huggingface.co",
        "hf.co",
    }
    if address.netloc not in hosts:
        raise RankOneError(
            f"'{text}' is not an address on the Hub ({', '.join(sorted(hosts))}). Bring the "
            "artefact as a folder, or give OWNER/NAME."
        )
    match = _ADDRESS.fullmatch(unquote(address.path))
    if match is None:
        raise RankOneError(
            f"'{text}' is not the address of a repository: write https://HOST/OWNER/NAME[/tree/REVISION[/FOLDER]]."
        )
    return Remote(match["repo"], match["revision"], match["folder"] or "")
