"""The one exception a user sees: it names the thing, the value and the mend."""

from __future__ import annotations


class RankOneError(Exception):
    """Bad input or a broken artefact, worded for the person who has to mend it.

    The command line prints it as one line and exits with status 2.
    """


class PeerError(RankOneError):
    """An error of another process: this one stops with the same words and says nothing."""


def first_line(error: BaseException) -> str:
    """What an exception says in its first line, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def nearest(name: str, known: list[str]) -> str:
    """Return a sentence that offers the known names closest to `name`, or an empty string."""
    import difflib

    alike = [one for one in known if one.lower() == name.lower() and one != name]
    close = alike or difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f" Nearest: {', '.join(close)}." if close else ""
