"""What the page asks of a list that is too long to be sent whole; importable without NumPy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rankone.core.config import Config

# Rows of a reply.
PAGE = 200
# Label sources of a list are named as they are; this one stands for corrections.
HAND = "corrected by hand"

Order = Literal["", "match", "density", "importance", "margin", "name"]


class RowsRequest(Config):
    """A search as the page's address has it, and from which of the rows that fit; or the rows of some parts by name.

    q: words that each stand in a part's label or name. site, on, by: only of this site, those that fire most on this domain,
    those whose label this source says. sort: '' for the best match where there is a search, else the most selective first.
    """

    q: str = Field("", max_length=300)
    site: str = Field("", max_length=300)
    on: str = Field("", max_length=300)
    by: str = Field("", max_length=300)
    sort: Order = ""
    dead: bool = False
    first: int = Field(0, ge=0)
    names: Annotated[tuple[Annotated[str, Field(max_length=300)], ...], Field(max_length=PAGE)] = ()
