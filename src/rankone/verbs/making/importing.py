"""Reading published targets and decompositions: import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rankone.core.fields import Positional, Published, Request
from rankone.opening import Opening
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.verbs.making.decomposing import Storage
from rankone.verbs.verb import Verb


class ImportRequest(Request):
    """A published target and its decomposition."""

    source: Annotated[str, Positional(), Published()] = Field(
        description="folder, wandb:ENTITY/PROJECT/runs/ID, or Hub repository"
    )
    out: Path = Field(description="where to write; must not exist")
    target: Annotated[str | None, Published()] = Field(
        None, description="run of the target, if SOURCE does not contain it"
    )
    tokenizer: str | None = Field(
        None, description="tokenizer.json, model directory or Hub name, if not the run's own"
    )
    storage: Storage = Field("float32", description="numbers it is stored in; float32 is exact")


class ImportedSite(Reply):
    """One imported site: subcomponents, and what they leave of its weight, ‖W − (V U)ᵀ‖² / ‖W‖²."""

    site: str
    count: int
    unexplained: float


class ImportReply(Reply):
    """What was read and written."""

    model: Path
    decomposition: Path | None
    has_tokenizer: bool
    sites: tuple[ImportedSite, ...]

    def tables(self) -> Sequence[Table]:
        """One row per site, where there is a decomposition."""
        if self.decomposition is None:
            return ()
        total = sum(s.count for s in self.sites)
        caption = f"{total:,} subcomponents; unexplained: ‖W − (V U)ᵀ‖² / ‖W‖²"
        rows = [[s.site, s.count, s.unexplained] for s in self.sites]
        title = f"{self.model.parent}: model and decomposition"
        return (Table.of(title, ["site", "C", "unexplained"], rows, caption),)

    def lines(self) -> Sequence[str]:
        """What the source lacked."""
        said: list[str] = []
        if not self.has_tokenizer:
            said.append("no tokenizer in the run: commands that read text need one, see --tokenizer")
        if self.decomposition is None:
            said.append(f"wrote {self.model}; the source has no decomposition")
        return said


def import_(opening: Opening, request: ImportRequest) -> ImportReply:  # noqa: ARG001
    """Read a published target and its decomposition and write them as OUT/model and OUT/decomposition."""
    from rankone.decomposition.importers.published import import_published
    from rankone.decomposition.importers.source import open_source

    source = open_source(request.source, request.target)
    imported = import_published(source, request.out, request.tokenizer, request.storage)
    sites = [
        ImportedSite(site=site, count=count, unexplained=imported.unexplained[site])
        for site, count in imported.counts.items()
    ]
    return ImportReply(
        model=imported.model,
        decomposition=imported.decomposition,
        has_tokenizer=imported.tokenizer,
        sites=tuple(sites),
    )


VERBS = (
    Verb(
        "import",
        ImportRequest,
        ImportReply,
        import_,
        writes=("out",),
        without={"device": "weights are copied, no model runs", "dtype": "--storage is that of the files"},
    ),
)
