"""A check-up: of the installation, of a model or of an artefact, by what the name stands for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from rankone.core.errors import RankOneError
from rankone.core.manifest import read_manifest
from rankone.doctor.artefact import check_artefact, is_artefact
from rankone.doctor.families import Family, family_named
from rankone.doctor.finding import Finding, note
from rankone.doctor.installation import check_installation
from rankone.doctor.machine import check_machine
from rankone.doctor.model import check_model
from rankone.models.sources.names import ASSETS
from rankone.sharing.fetching import SeveralArtefacts, local
from rankone.text.corpus import Corpus

if TYPE_CHECKING:
    import torch


def check(
    target: str | None, model: str | None, corpus: Corpus, tokens: int, device: torch.device | None = None
) -> Iterator[Finding]:
    """What is found of a target (None: the installation and its machine); of the code of an error, what it stands for.

    model: beside which an artefact is checked. corpus, tokens: text a model is tried on. device: where, None for the CPU.
    """
    if target is None:
        return chain(check_installation(), check_machine())
    family = family_named(target)
    if family is not None and not Path(target).exists():
        return iter(_explained(family))
    folder = _folder(target)
    if folder.is_dir() and is_artefact(folder):
        findings = check_artefact(folder, model)
        return chain(findings, check_model(target, corpus, tokens, device)) if _is_model(folder) else findings
    return check_model(target, corpus, tokens, device)


def _explained(family: Family) -> list[Finding]:
    """What a code of an error stands for."""
    return [
        note("what happened", family.happened),
        note("what to do", family.mend),
        note("more", f"docs/{family.see}"),
    ]


def _folder(target: str) -> Path:
    """Where a target lies: a built-in one, a path, or an artefact of the Hub, which is brought."""
    if target == "mini-decomposition":
        return ASSETS / target
    try:
        return local(Path(target).expanduser())
    except SeveralArtefacts:
        raise
    except RankOneError:  # no artefact: it may be a model
        return Path(target)


def _is_model(folder: Path) -> bool:
    try:
        return read_manifest(folder).kind == "model"
    except RankOneError:
        return False
