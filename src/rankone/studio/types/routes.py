"""Which route takes what and answers what: the page's types are written from it, and tests hold the server to it.

In a path, {} stands for an id. What a route streams comes as events: `partial` with one of these, at last done, superseded
or failed (its reason); `looks` with how often validation text was looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pydantic import BaseModel

from rankone.circuits.asking.replies import GraphInterveneReply
from rankone.studio.kept.corrections import CorrectionsView
from rankone.studio.kept.graphs import GraphsView
from rankone.studio.kept.journal import JournalView
from rankone.studio.kept.runs import Metrics
from rankone.studio.listed.columns import PartColumns, RowsView
from rankone.studio.listed.requests import RowsRequest
from rankone.studio.views import requests as asked
from rankone.studio.views import server, worker

Model: TypeAlias = type[BaseModel]


@dataclass(frozen=True)
class Posted:
    """A route that is posted to: what its body is, and what it answers, or each of a stream's partial events holds."""

    body: Model
    answers: tuple[Model, ...]


GETS: dict[str, Model] = {
    "/api/checked": server.WorkspaceView,
    "/api/columns": PartColumns,
    "/api/edits": JournalView,
    "/api/exports": server.ExportsView,
    "/api/graphs": GraphsView,
    "/api/graphs/checked": GraphsView,
    "/api/labels": CorrectionsView,
    "/api/runs": server.RunsView,
    "/api/runs/{}": Metrics,
    "/api/verbs": server.VerbsView,
    "/api/warm": worker.Subject,
    "/api/workspace": server.WorkspaceView,
}
POSTS: dict[str, Posted] = {
    "/api/edits": Posted(asked.NewEdit, (JournalView,)),
    "/api/exports": Posted(asked.ExportRequest, (server.Started,)),
    "/api/graph": Posted(asked.GraphAsked, (worker.GraphView,)),
    "/api/importance": Posted(asked.ImportanceRequest, (worker.Importances,)),
    "/api/intervene": Posted(asked.InterveneAsked, (GraphInterveneReply,)),
    "/api/labels": Posted(asked.NewLabel, (CorrectionsView,)),
    "/api/named": Posted(asked.NamesRequest, (server.NamesView,)),
    "/api/part": Posted(asked.PartRequest, (worker.PartView,)),
    "/api/prompt": Posted(asked.PromptRequest, (worker.PromptView,)),
    "/api/redo": Posted(asked.Step, (JournalView,)),
    "/api/rows": Posted(RowsRequest, (RowsView,)),
    "/api/text": Posted(asked.TextRequest, (worker.TextPage,)),
    "/api/undo": Posted(asked.Step, (JournalView,)),
}
STREAMS: dict[str, Posted] = {
    "/api/generate": Posted(asked.GenerateRequest, (worker.Side,)),
    "/api/preview": Posted(
        asked.PreviewRequest, (worker.Sized, worker.Reading, worker.MeasuredRow, worker.CutShort)
    ),
    "/api/response": Posted(asked.ResponseRequest, (worker.ResponsePoint,)),
}
