"""What a harvest or a clustering was made from; beside another model or decomposition it is refused."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from transformers import PreTrainedModel

from rankone.core.artifact import Artifact, open_artifact
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.reading import reading
from rankone.decomposition.model import Decomposition
from rankone.models.loading import model_hash
from rankone.sharing.fetching import local
from rankone.sharing.stored import Stored
from rankone.text.corpus import TextRecord, described
from rankone.workspace import Workspace


class ModelRecord(Config):
    """A model by the name it was loaded under and the hash of all its parameters."""

    name: str
    hash: str


class Origin(Config):
    """What something was made from. decomposition: its hash."""

    decomposition: str
    model: ModelRecord
    text: TextRecord

    def agrees(self, other: Origin) -> bool:
        """Whether both are of the same decomposition of the same model; the text may be another."""
        return (self.decomposition, self.model.hash) == (other.decomposition, other.model.hash)


def decomposition_hash(decomposition: Decomposition) -> str:
    """SHA-256 over a decomposition's factors, importance function and numbering; its target is not in it."""
    numbering = {s: i.tolist() for s, i in decomposition.indices.items()}
    return hashlib.sha256(f"{model_hash(decomposition)} {json.dumps(numbering)}".encode()).hexdigest()


def origin(workspace: Workspace) -> Origin:
    """What is made from a workspace's decomposition, model and corpus has this origin."""
    model = workspace.model
    return Origin(
        decomposition=decomposition_hash(workspace.decomposition),
        model=ModelRecord(name=Path(str(model.name_or_path)).name, hash=model_hash(model)),
        text=TextRecord.checked(described(workspace.corpus), "the corpus"),
    )


class Derived(Stored, ABC):
    """An artefact made from a decomposition of a model, opened from disk; beside others of either it is refused."""

    kind: ClassVar[str]

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact

    @property
    @abstractmethod
    def origin(self) -> Origin:
        """What its config says it was made from."""

    @classmethod
    def from_pretrained(
        cls,
        name: Path | str,
        decomposition: Decomposition | None = None,
        target: PreTrainedModel | None = None,
    ) -> Self:
        """Open a folder, Hub id (OWNER/NAME, or with @REVISION) or address; errors as `open`, and the Hub's."""
        return cls.open(local(name, cls.kind), decomposition, target)

    @classmethod
    def open(
        cls,
        path: Path | str,
        decomposition: Decomposition | None = None,
        target: PreTrainedModel | None = None,
    ) -> Self:
        """Verify and open; one of another decomposition or model than those given is refused."""
        artifact = open_artifact(path, cls.kind)
        with reading(artifact.path):
            derived = cls(artifact)
            derived.require_origin(decomposition, target)
        return derived

    def require_origin(
        self, decomposition: Decomposition | None = None, target: PreTrainedModel | None = None
    ) -> None:
        """Raise RankOneError unless this was made from the decomposition and model given.

        The model counts whole: its undecomposed weights too decide what fires.
        """
        made, what = self.origin, str(self.artifact.path)
        if decomposition is not None and (given := decomposition_hash(decomposition)) != made.decomposition:
            raise RankOneError(
                f"'{what}' was made from another decomposition (hash {made.decomposition[:12]}…, the given one has "
                f"{given[:12]}…). Give the one it was made from, or make it again from this one."
            )
        if target is not None and (given := model_hash(target)) != made.model.hash:
            raise RankOneError(
                f"'{what}' was made from another model, '{made.model.name}' (hash {made.model.hash[:12]}…, the "
                f"given one has {given[:12]}…). Give the one it was made from, or make it again from this one."
            )
