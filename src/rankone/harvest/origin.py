"""What a harvest or a clustering was made from; beside another model or decomposition it is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from transformers import PreTrainedModel

from rankone.core.artifact import Artifact, open_artifact
from rankone.core.errors import RankOneError
from rankone.core.reading import reading
from rankone.decomposition.model import Decomposition
from rankone.models.loading import model_hash


def decomposition_hash(decomposition: Decomposition) -> str:
    """SHA-256 over a decomposition's factors, importance function and numbering; its target is not in it."""
    numbering = {s: i.tolist() for s, i in decomposition.indices.items()}
    return hashlib.sha256(f"{model_hash(decomposition)} {json.dumps(numbering)}".encode()).hexdigest()


def origin(target: PreTrainedModel, decomposition: Decomposition) -> dict[str, Any]:
    """What identifies both in a config: `decomposition` (hash) and `model` (name, hash of all its parameters)."""
    return {
        "decomposition": decomposition_hash(decomposition),
        "model": {"name": Path(str(target.name_or_path)).name, "hash": model_hash(target)},
    }


def same_origin(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configs name the same decomposition of the same model."""
    return (one["decomposition"], one["model"]["hash"]) == (other["decomposition"], other["model"]["hash"])


class Derived:
    """An artefact made from a decomposition of a model, opened from disk; beside others of either it is refused.

    artifact: what was opened. config: its config, with what `origin` put into it.
    """

    kind: ClassVar[str]

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.config: dict[str, Any] = artifact.json()

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
            found = cls(artifact)
            found.require_origin(decomposition, target)
        return found

    def require_origin(
        self, decomposition: Decomposition | None = None, target: PreTrainedModel | None = None
    ) -> None:
        """Raise RankOneError unless this was made from the decomposition and model given.

        The model counts whole: its undecomposed weights too decide what fires.
        """
        made, what = self.config, str(self.artifact.path)
        if (
            decomposition is not None
            and (given := decomposition_hash(decomposition)) != made["decomposition"]
        ):
            raise RankOneError(
                f"'{what}' was made from another decomposition (hash {made['decomposition'][:12]}…, the given one has "
                f"{given[:12]}…). Give the one it was made from, or make it again from this one."
            )
        if target is not None and (given := model_hash(target)) != made["model"]["hash"]:
            raise RankOneError(
                f"'{what}' was made from another model, '{made['model']['name']}' (hash {made['model']['hash'][:12]}…, the "
                f"given one has {given[:12]}…). Give the one it was made from, or make it again from this one."
            )
