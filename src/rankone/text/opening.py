"""Opening the text that `--text` names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from rankone.core.errors import RankOneError
from rankone.runtime.progress import log
from rankone.text.corpus import Corpus
from rankone.text.sources.builtin import BuiltinCorpus
from rankone.text.sources.directory import DirectoryCorpus
from rankone.text.sources.hub import HubCorpus
from rankone.text.sources.joined import JoinedCorpus
from rankone.text.sources.layout import SUFFIXES
from rankone.text.sources.lowered import LoweredCorpus

LOWERED = "lower:"


def open_corpus(spec: str) -> Corpus:
    """Open the text that `--text` names.

    `builtin` is the corpus inside the package; a directory holds `<domain>/*.txt[.zst]` or `.jsonl[.zst]` files, or such
    files alone (one domain), and so does a file; anything else, or `hf:` with an id or a local data set folder, is
    streamed (sources/hub.py). Several with commas between them are one text with the domains of each (sources/joined.py);
    `lower:` before a name is that text in lower case (sources/lowered.py).
    What a directory holds and is not read is said to the log.
    """
    if not all(name.strip() for name in spec.split(",")):
        raise RankOneError(f"--text '{spec}' has an empty name in it. Give a name, or leave out the comma.")
    if "," in spec and "?" not in spec and not Path(spec).exists():
        return JoinedCorpus([open_corpus(name.strip()) for name in spec.split(",")])
    if spec.startswith(LOWERED):
        return LoweredCorpus(open_corpus(spec.removeprefix(LOWERED)))
    if spec == "builtin":
        return BuiltinCorpus()
    if spec.startswith("hf:"):
        return HubCorpus(spec)
    path = Path(spec)
    if path.is_dir() or (path.is_file() and path.name.endswith(SUFFIXES)):
        corpus = DirectoryCorpus(path)
        _say(corpus.name, corpus.note, corpus.lost)
        return corpus
    if path.exists() or spec.startswith((".", "/", "~")):
        what = "not a text file" if path.exists() else "not there"
        raise RankOneError(
            f"--text '{spec}' is {what}. Give a directory with one folder per domain, a folder of text files, or a file "
            f"ending in {', '.join(SUFFIXES)}."
        )
    return HubCorpus(spec)


def in_full(spec: str, path_of: Callable[[str], Path | None]) -> str:
    """What `--text` named, with the paths of those of its texts that lie on this machine; path_of: None where none does."""
    if spec == "builtin":
        return spec
    if path := path_of(spec):
        return str(path)
    if "," in spec and "?" not in spec:
        return ",".join(in_full(name.strip(), path_of) for name in spec.split(","))
    if spec.startswith(LOWERED):
        return LOWERED + in_full(spec.removeprefix(LOWERED), path_of)
    prefix = "hf:" if spec.startswith("hf:") else ""
    source, mark, query = spec.removeprefix(prefix).partition("?")
    return f"{prefix}{path_of(source) or source}{mark}{query}"


@cache
def _say(name: str, note: str, lost: str) -> None:
    """Once in a process: a text is opened wherever it is needed."""
    if note:
        log.info(f"text '{name}': {note}")
    if lost:
        log.warning(f"text '{name}': {lost}")
