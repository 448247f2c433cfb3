"""By what parts can be ranked, and what each criterion needs to be told. Importable without PyTorch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from rankone.core.errors import RankOneError, nearest


@dataclass(frozen=True)
class Needs:
    """What a criterion must be told, and what it may be told besides."""

    needs: tuple[str, ...]
    may: tuple[str, ...] = ()


CRITERIA = {
    "specificity": Needs(("of",)),
    "contrast": Needs(("of", "against")),
    "gradient": Needs(("of",), ("against", "penalty")),
    "token": Needs(("token",)),
    "unembedding": Needs(("token",)),
    "label": Needs(("label",)),
}
# Those that no harvest has counts for.
FROM_MODEL = ("gradient", "unembedding")


def unread(criterion: str) -> tuple[str, ...]:
    """Of `tokens` and `domains` those that a criterion makes nothing of."""
    if criterion in ("specificity", "contrast"):
        return ()
    return ("domains",) if criterion == "gradient" else ("tokens", "domains")


def criterion_for(given: Collection[str], harvest: bool) -> str:
    """The criterion that what was given (names of options) calls for, where none was named."""
    if "label" in given:
        return "label"
    if "token" in given:
        return "token" if harvest else "unembedding"
    return "contrast" if "against" in given else "specificity"


def require_criterion(name: str, given: Collection[str]) -> None:
    """RankOneError for an unknown criterion, and for what it lacks or does not use among what was given."""
    if name not in CRITERIA:
        raise RankOneError(
            f"unknown criterion '{name}'; there are {', '.join(CRITERIA)}.{nearest(name, list(CRITERIA))}"
        )
    criterion = CRITERIA[name]
    missing = [option for option in criterion.needs if option not in given]
    if missing:
        raise RankOneError(f"a ranking by {name} needs --{missing[0]}.")
    unused = [option for option in given if option not in (*criterion.needs, *criterion.may)]
    if unused:
        raise RankOneError(
            f"--{unused[0]} changes nothing in a ranking by {name}: leave it out, or name another --by."
        )
    if "penalty" in given and "against" not in given:
        raise RankOneError("--penalty weighs what is done to --against: give both.")
