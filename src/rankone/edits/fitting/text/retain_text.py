"""Where retain text comes from: which domains are held where none is named, and their training text in equal shares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from rankone.core.artifact import MANIFEST, read_json
from rankone.core.errors import RankOneError
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.retain import RetainText
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace

LENGTH = 65
"""Tokens of a row, its opener included: short rows, so that every step sees other text."""


def trained_domains(model: PreTrainedModel) -> tuple[str, ...]:
    """Domains of the mixture that a model of `rankone pretrain` was trained on; empty for any other model."""
    path = Path(model.name_or_path or "") / MANIFEST
    manifest: dict[str, Any] = read_json(path) if path.is_file() else {}
    recipe = manifest.get("provenance", {}).get("recipe", {})
    if not isinstance(recipe, dict):
        return ()
    left_out = recipe.get("without") or ()
    return tuple(domain for domain in recipe.get("mixture") or () if domain not in left_out)


def default_retain(workspace: Workspace, forget: str) -> tuple[str, ...]:
    """Every other domain that the model was trained on and the corpus has, else every other one of the corpus.

    RankOneError where there is none.
    """
    forgotten = forget.removeprefix("self:")
    others = [domain for domain in workspace.corpus.domains() if domain != forgotten]
    if not others:
        raise RankOneError(
            f"there is no domain but '{forgotten}', and nothing else bounds the edit: give text of another one too."
        )
    spoken = [domain for domain in trained_domains(workspace.model) if domain in others]
    return tuple(spoken or others)


def retain_text(
    workspace: Workspace,
    aim: Aim,
    tokens: int,
    length: int = LENGTH,
    given: Mapping[str, Blocks] | None = None,
) -> RetainText:
    """Training text of the retained domains, `tokens` in all, with what the base model says there.

    given: the text of retained domains that the corpus does not have.
    """
    each, length = max(1, tokens // len(aim.retain)), min(length, workspace.context)
    known = given or {}
    text = {d: known[d] if d in known else workspace.blocks(d, "train", each, length) for d in aim.retain}
    return RetainText(workspace.model, text)
