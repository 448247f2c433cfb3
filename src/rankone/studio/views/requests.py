"""What the page may ask of the worker, each a model that refuses what does not fit; importable without PyTorch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from rankone.circuits.records import Rule
from rankone.core.config import Config

# Largest |α| of a dial: far beyond what any fit has reached, and short of weights that are not numbers.
MAX_SCALE = 1000.0
# Characters of a prompt: some 2,048 tokens and more.
MAX_PROMPT = 16_384
MAX_NAME = 300
# Nodes of a graph that are listed or drawn at once.
MAX_NODES = 300

Scale = Annotated[float, Field(ge=-MAX_SCALE, le=MAX_SCALE, strict=True)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
Scales = Annotated[dict[Name, Scale], Field(max_length=64)]


# Of nodes or parts.
Places = Annotated[tuple[Name, ...], Field(max_length=64)]


class PreviewRequest(Config):
    """Dials as they stand. client, seq: of several moves of one page the last one counts."""

    scales: Scales
    client: Name = "page"
    seq: int = Field(0, ge=0)


class GenerateRequest(Config):
    """A prompt to continue by both models."""

    prompt: str = Field(max_length=MAX_PROMPT)
    scales: Scales
    tokens: int = Field(40, gt=0, le=200)
    chat: bool = False
    client: Name = "page"


class PromptRequest(Config):
    """A text whose tokens are looked into. top: parts named per token, of importance above `threshold`."""

    text: str = Field(min_length=1, max_length=MAX_PROMPT)
    top: int = Field(8, gt=0, le=20)
    threshold: float = Field(0.01, ge=0, lt=1)


class ImportanceRequest(Config):
    """Parts whose importance is asked for at one token of a text. at: its place, counted from 0 as they are shown."""

    text: str = Field(min_length=1, max_length=MAX_PROMPT)
    at: int = Field(ge=0)
    parts: Places


class PartRequest(Config):
    """A part to be shown."""

    name: Name


class NamesRequest(Config):
    """Names of parts, of which those are told that are none."""

    names: tuple[str, ...] = Field(min_length=1, max_length=64)


class TextRequest(Config):
    """A page of what a label of a part says, whole; label, page: counted from 0."""

    name: Name
    label: int = Field(ge=0)
    of: Literal["label", "source", "reasoning"] = "label"
    page: int = Field(0, ge=0)


class ResponseRequest(Config):
    """A part whose scale is moved from end to end."""

    name: Name
    client: Name = "page"


class VerbRequest(Config):
    """A verb of the table and its request."""

    verb: Name
    request: dict[str, JsonValue] = Field(default_factory=dict)


class GraphAsked(Config):
    """A graph of the workspace, the rule of the edges that are shown, and how many of the strongest nodes are.

    pinned: places of nodes that are shown whether strong or not; groups: places that are taken together, by name.
    """

    id: Name
    rule: Rule = "frozen"
    nodes: int = Field(40, gt=0, le=MAX_NODES)
    pinned: Places = ()
    groups: Annotated[dict[Name, Places], Field(max_length=16)] = Field(default_factory=dict)


class InterveneAsked(Config):
    """What is done with a graph's nodes: factors of places (0 drops one), or `keep` alone; tokens: to go on with."""

    id: Name
    changes: Scales = Field(default_factory=dict)
    keep: Places = ()
    tokens: int = Field(0, ge=0, le=40)


class ExportRequest(Config):
    """An edit of the journal by its number, and what becomes of it."""

    entry: int = Field(ge=1)
    as_: Literal["edit", "adapter", "checkpoint"] = Field("edit", alias="as")


class NewEdit(Config):
    """Dials to keep. after: the last entry that the page has seen, so that two pages do not write past each other."""

    scales: Scales
    name: str = Field("", max_length=MAX_NAME)
    after: int = Field(ge=0)


class Step(Config):
    """Undo or redo. after: as in NewEdit."""

    after: int = Field(ge=0)


class NewLabel(Config):
    """A part's label corrected by hand, '' to take the correction back. instead: what stood there. after: as in NewEdit."""

    name: Name
    label: str = Field(max_length=MAX_NAME)
    instead: str = Field("", max_length=MAX_NAME)
    after: int = Field(ge=0)
