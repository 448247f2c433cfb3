"""Text that others wrote, made inert for the place it goes to: a terminal, a page, a prompt.

Tokens, examples, domain tags, replies of a language model and messages of a server are data. Nothing in them may move
a cursor, open a tag, or end the passage of a prompt that quotes them.
"""

from __future__ import annotations

import html
import re
import unicodedata

# Characters of one foreign text, such as a label, that a page or a table shows at most.
SHOWN = 2000
_SIGNS = {"\n": "↵", "\t": "⇥"}
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
# Every delimiter and mark of our prompts is made of < and >, and so are the control words of most chat templates.
_ANGLES = str.maketrans("<>", "‹›")
# The others are written as [WORD] or [/WORD].
_CONTROL_WORD = re.compile(r"\[(/?[A-Z_]+)\]")


def visible(text: object) -> str:
    """`text` with control, bidirectional and invisible characters replaced by what shows them.

    One line comes out, safe for a terminal that interprets no markup (print with markup=False, or as rich.text.Text).
    """
    whole = str(text)
    if whole.isprintable():  # of what is hidden nothing is
        return whole
    return whole.translate({ord(char): _visible(char) for char in set(whole)})


def _visible(char: str) -> str:
    if char in _SIGNS:
        return _SIGNS[char]
    if unicodedata.category(char) not in _HIDDEN:
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:04x}}}"


def html_text(value: object) -> str:
    """`value` as inert HTML, for element bodies and quoted attributes: escaped, hidden characters made visible."""
    return html.escape(visible(value), quote=True)


def prompt_text(value: object) -> str:
    """`value` as data inside a prompt: one line without < or >, shown as ‹ and ›, and without [INST]-like words."""
    return _CONTROL_WORD.sub(r"⟦\1⟧", visible(value).translate(_ANGLES))


def clipped(value: object, length: int) -> str:
    """At most `length` characters of `visible(value)`, runs of spaces as one; an ellipsis shows a cut."""
    whole = str(value)
    text = _one_line(whole[: 4 * length])  # of a megabyte this is enough, unless it begins with spaces
    if len(text) <= length:
        text = _one_line(whole)
    return text if len(text) <= length else text[: max(length - 1, 0)].rstrip() + "…"


def _one_line(text: str) -> str:
    return " ".join(visible(text).split())


def half_pair(text: str) -> str:
    """What is wrong with a string that no UTF-8 can hold; '' for all others.

    Half of a surrogate pair comes from broken JSON (`\\ud83d` alone) and from bytes of a command line that are not UTF-8.
    """
    try:
        text.encode("utf8")
    except UnicodeEncodeError as error:
        return f"half of a surrogate pair (\\u{ord(text[error.start]):04x} at character {error.start + 1})"
    return ""
