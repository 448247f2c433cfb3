"""What a search asks for: words that must be there, and words that must not; how either is looked for in a label.

"text in all text but German" denies German: a search for German does not find it, one for "not German" does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rankone.core.errors import RankOneError

# What follows these words is what a label is not about, or what is not searched for.
_DENIALS = r"but|except(?: for| in)?|other than|apart from|without|excluding|outside(?: of)?|not(?: in)?|non"
_LINKS = ("and", "or", "nor", "in", "but")
_DENIED = re.compile(rf"\b(?:{_DENIALS})[ -](\w+(?:(?:, and |, or |, | and | or | nor )\w+)*)", re.IGNORECASE)


@dataclass(frozen=True)
class Query:
    """Words of a query, lower case, without repeats."""

    wanted: tuple[str, ...]
    denied: tuple[str, ...]

    @classmethod
    def read(cls, query: str) -> Query:
        """The words, parted by spaces; those after "not", "without", "but" and their like are denied.

        RankOneError for a query without words.
        """
        denied = [word for said in _DENIED.findall(query.casefold()) for word in re.split(r",? ", said)]
        without = tuple(dict.fromkeys(word for word in denied if word not in _LINKS))
        wanted = affirmed(query.casefold()).split()
        if without:
            wanted = [word for word in wanted if word not in _LINKS]
        if not wanted and not without:
            raise RankOneError("the query is empty: name a word of a label, a token or a domain.")
        return cls(tuple(dict.fromkeys(wanted)), without)

    def match(self, label: str) -> float:
        """1 where a label has all the wanted words and affirms no denied one, ½ where it has some only as beginnings of
        words, else 0; where no word is wanted, 1 for a label that denies all the denied ones itself."""
        said = affirmed(label).casefold()
        if any(in_text(word, said) == 1 for word in self.denied):
            return 0.0
        if self.wanted:
            return min(in_text(word, said) for word in self.wanted)
        return float(all(denies(word, label) for word in self.denied))


def affirmed(text: str) -> str:
    """A label or reason without what it denies."""
    return _DENIED.sub(" ", text)


def denies(word: str, label: str) -> bool:
    """Whether a label names a word only to say that it is not about it."""
    return in_text(word, label.casefold()) == 1 and not in_text(word, affirmed(label).casefold())


def in_text(word: str, text: str) -> float:
    """1 where a text has a word, ½ where it has it as the beginning of one; both in lower case."""
    if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text):
        return 1.0
    return 0.5 if re.search(rf"(?<!\w){re.escape(word)}", text) else 0.0
