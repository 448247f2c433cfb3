"""What the server says without the worker, each a model: the types of the page are written from them."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from rankone.core.config import Record
from rankone.opening import OpenOptions
from rankone.studio.jobs import Export
from rankone.studio.kept.looks import Looked
from rankone.studio.kept.runs import Run
from rankone.studio.shelf import Shelved
from rankone.studio.views.requests import MAX_SCALE


class WorkerState(Record):
    """The process that owns the model. alive: jobs that have not ended."""

    alive: int
    restarts: int


class Limits(Record):
    """What the page may ask for: the largest |α|."""

    scale: float = MAX_SCALE


class WorkspaceView(Record):
    """What is open, and what lies in the workspace."""

    version: str
    options: OpenOptions
    artefacts: tuple[Shelved, ...]
    looks: Looked
    worker: WorkerState
    limits: Limits


class RunsView(Record):
    """The runs of the workspace, the one that wrote last first."""

    runs: tuple[Run, ...]


class NamesView(Record):
    """Of the names that were asked about those that are of no part, with the reason."""

    refused: dict[str, str]


class ExportsView(Record):
    """The exports since the studio was started, the last first."""

    jobs: tuple[Export, ...]


class Started(Record):
    """The number of an export that was begun."""

    job: int


class VerbSchema(Record):
    """A verb that is offered: JSON schemas of its request, without places on disk, and of its reply."""

    name: str
    help: str
    cost: Literal["instant", "seconds", "minutes"]
    request: dict[str, JsonValue]
    reply: dict[str, JsonValue]


class VerbsView(Record):
    """All verbs that are offered, and why each of the others is not."""

    verbs: tuple[VerbSchema, ...]
    not_offered: dict[str, str]


class Refused(Record):
    """Why something was not done; with a status of 400 and more."""

    error: str
