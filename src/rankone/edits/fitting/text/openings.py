"""A few words that set a behaviour off, for a model's own text in it. Importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from rankone.core.errors import RankOneError

OPENINGS = {
    "code": ("def main(", "import os\n", "class Node:\n    def __init__(self"),
    "de": ("Die Kommission hat", "Er ging langsam durch die", "Es ist nicht so, dass wir"),
    "en": ("The Commission has", "He walked slowly through the", "It is not the case that we"),
    "es": ("La Comisión ha", "Caminaba despacio por la", "No es cierto que nosotros"),
    "fr": ("La Commission a", "Il marchait lentement dans la", "Ce n'est pas que nous"),
    "it": ("La Commissione ha", "Camminava lentamente per la", "Non è vero che noi"),
    "nl": ("De Commissie heeft", "Hij liep langzaam door de", "Het is niet zo dat wij"),
    "pt": ("A Comissão tem", "Ele andava devagar pela", "Não é verdade que nós"),
    "sv": ("Kommissionen har", "Han gick långsamt genom", "Det är inte så att vi"),
}
"""A few words of each domain, ours: they are not scored."""


def openings_of(domain: str, given: Sequence[str] = ()) -> tuple[str, ...]:
    """The openings given, or those known for a domain; RankOneError where there are none."""
    if given:
        return tuple(given)
    if domain not in OPENINGS:
        raise RankOneError(
            f"self:{domain} needs an opening: no words are known to start text in '{domain}'. Give --openings, one or more "
            f"(known without: {', '.join(OPENINGS)})."
        )
    return OPENINGS[domain]
