"""How the domains of a text are called: `de` is German; a tag that is not a known language keeps its name."""

from __future__ import annotations

from collections.abc import Sequence

from rankone.core.escaping import visible

NAMES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sv": "Swedish",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "vi": "Vietnamese",
    "zh": "Chinese",
    "code": "code",
}

# What speakers call their languages, and three-letter codes (ISO 639-2), where they are likely to be typed.
_ALSO = {
    "da": ("dansk", "dan"),
    "de": ("deutsch", "ger", "deu"),
    "en": ("eng",),
    "es": ("español", "espanol", "castellano", "spa"),
    "fr": ("français", "francais", "fre", "fra"),
    "it": ("italiano", "ita"),
    "nl": ("nederlands", "dut", "nld"),
    "pt": ("português", "portugues", "por"),
    "sv": ("svenska", "swe"),
}

LOWER = "-lower"
"""How the tag of a domain in lower case ends (sources/lowered.py)."""


def written_in(domain: str) -> str:
    """The tag of the language that a domain's text is in: `de` of `de-lower`."""
    return domain.removesuffix(LOWER)


def is_called(domain: str, name: str) -> bool:
    """Whether a domain goes by this name too: `German`, `Deutsch`, `ger` for `de`."""
    return name.lower() in (domain_name(domain).lower(), *_ALSO.get(domain, ()))


def domain_name(domain: str) -> str:
    """How a domain is called in labels, figures and tables."""
    return NAMES.get(domain, visible(domain))


def domain_list(domains: Sequence[str]) -> str:
    """`German`, `German and Dutch`, `German, Dutch and code`; the tags in the order they come."""
    names = [domain_name(d) for d in domains]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
