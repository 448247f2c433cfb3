"""A kind of artefact has a schema version of its own, and a function for each step from a version to the next.

So a harvest that is written in a new way orphans no model: each kind goes on alone, and what an older version wrote is
read through its steps. A kind whose layout never changed is at version 1 and has no file here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from rankone.core.errors import RankOneError

# What a JSON file of an artefact holds.
Document = dict[str, JsonValue]
# A document (by its file's name) of a version → the same document of the next version.
Step = Callable[[str, Document], Document]


@dataclass(frozen=True)
class Renamed:
    """What tables of a version are called in the next one, and their columns: name → new name, where they differ."""

    files: Mapping[str, str] = field(default_factory=dict[str, str])
    columns: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Schema:
    """The version that is written, and steps[n], which takes a document of version n to version n + 1.

    renamed[n]: the same for the names of tables and columns, where a step changes any.
    """

    version: int = 1
    steps: Mapping[int, Step] = field(default_factory=dict[int, Step])
    renamed: Mapping[int, Renamed] = field(default_factory=dict[int, Renamed])

    def __post_init__(self) -> None:
        assert sorted(self.steps) == list(range(1, self.version)), "a step from every version to the next"
        assert set(self.renamed) <= set(self.steps), "names change in a step"

    def require(self, version: int, where: str) -> None:
        """Raise unless documents of this version can be read."""
        if not 1 <= version <= self.version:
            raise RankOneError(
                f"'{where}' has schema version {version}; this RankOne reads versions up to {self.version} of its "
                "kind. Use the release that wrote it, or a newer one."
            )

    def current(self, name: str, document: Document, version: int) -> Document:
        """A document as the version that is written now would hold it."""
        for step in range(version, self.version):
            document = self.steps[step](name, document)
        return document

    def file(self, name: str, version: int) -> str:
        """What a version calls the file that is called `name` today."""
        for step in reversed(range(version, self.version)):
            before = {new: old for old, new in self._names(step).files.items()}
            name = before.get(name, name)
        return name

    def columns(self, version: int) -> dict[str, str]:
        """Columns of a version's tables → their names of today, where they differ."""
        today: dict[str, str] = {}
        for step in reversed(range(version, self.version)):
            today |= {old: today.get(new, new) for old, new in self._names(step).columns.items()}
        return today

    def _names(self, step: int) -> Renamed:
        return self.renamed.get(step, Renamed())
