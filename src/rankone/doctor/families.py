"""Families of errors: a stable code each, known by the words of the message, with what happened and what to do.

One table (data/families.yaml): the command line names the code on a terminal, `rankone doctor CODE` says what stands there,
and the site has a page for each (pages.py).
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import yaml

from rankone.core.config import Config


class Family(Config):
    """code: its for good. says: patterns, one of which a message of the family holds. see: a page of docs/."""

    code: str
    says: tuple[str, ...]
    happened: str
    mend: str
    see: str

    def holds(self, message: str) -> bool:
        """Whether a message is of this family; all are of one without patterns."""
        return not self.says or any(re.search(pattern, message) for pattern in self.says)


@cache
def families() -> tuple[Family, ...]:
    """All families in the order in which they are tried."""
    table = files("rankone.doctor") / "data" / "families.yaml"
    rows = yaml.safe_load(table.read_text("utf8"))
    return tuple(Family.checked(row, f"families.yaml[{i}]") for i, row in enumerate(rows))


def family_of(message: str) -> Family:
    """The first family that a message is of."""
    return next(family for family in families() if family.holds(message))


def family_named(code: str) -> Family | None:
    """The family of a code; None where there is none."""
    return next((family for family in families() if family.code == code), None)
