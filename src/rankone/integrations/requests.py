"""What verbs of other tools are asked and answer; importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rankone.core.config import Record
from rankone.core.fields import Folder, Names, Positional, Reads, Request
from rankone.render.reply import Reply
from rankone.render.tables import Table


class LmEvalRequest(Request):
    """A saved edit and the tasks to be tried before and after it."""

    edit: Annotated[Path, Positional(), Reads("edit")] = Field(description="saved edit")
    tasks: Names = Field(min_length=1, description="names of lm-eval's tasks, or of those in --include")
    include: Annotated[Path | None, Folder("tasks of yours")] = Field(
        None, description="folder with your own tasks, as lm-eval reads them"
    )
    limit: int | None = Field(None, gt=0, description="most questions of each task")
    fewshot: int | None = Field(
        None, ge=0, description="examples before each question; default the task's own"
    )
    batch: int = Field(8, gt=0, description="questions at once")
    out: Path | None = Field(None, description="also write the figures as JSON")


class TaskFigure(Record):
    """One metric of one task, before and after the edit, with lm-eval's standard errors (None: it gives none)."""

    task: str
    metric: str
    base: float
    base_error: float | None
    edited: float
    edited_error: float | None


class LmEvalReply(Reply):
    """Every metric of every task."""

    model: str
    edit: Path
    version: str
    limit: int | None
    figures: tuple[TaskFigure, ...]

    def tables(self) -> Sequence[Table]:
        """One row per metric."""
        rows = [
            [f.task, f.metric, f.base, f.base_error, f.edited, f.edited_error, f.edited - f.base]
            for f in self.figures
        ]
        columns = ["task", "metric", "before", "± error", "after", "±  error", "change"]
        some = "" if self.limit is None else f", the first {self.limit} questions of each task"
        return (
            Table.of(
                f"{self.model} before and after {self.edit}", columns, rows, f"lm-eval {self.version}{some}"
            ),
        )
