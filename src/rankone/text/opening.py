"""Opening the text that `--text` names."""

from __future__ import annotations

from pathlib import Path

from rankone.core.errors import RankOneError
from rankone.text.corpus import Corpus
from rankone.text.sources.builtin import BuiltinCorpus
from rankone.text.sources.directory import DirectoryCorpus
from rankone.text.sources.hub import HubCorpus


def open_corpus(spec: str) -> Corpus:
    """Open the text that `--text` names.

    `builtin` is the corpus inside the package; a directory holds `<domain>/*.txt[.zst]` or `.jsonl[.zst]`
    files; anything else, or `hf:` with an id or a local data set folder, is streamed (text/hub.py).
    """
    if spec == "builtin":
        return BuiltinCorpus()
    if spec.startswith("hf:"):
        return HubCorpus(spec)
    if Path(spec).is_dir():
        return DirectoryCorpus(Path(spec))
    if Path(spec).exists() or spec.startswith((".", "/", "~")):
        raise RankOneError(f"--text '{spec}' is no directory. Give a directory with one folder per domain.")
    return HubCorpus(spec)
