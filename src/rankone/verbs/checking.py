"""Verbs that check: doctor, lm-eval."""

from __future__ import annotations

import difflib
from pathlib import Path

from rankone.core.errors import RankOneError, nearest
from rankone.doctor.families import families, family_named
from rankone.doctor.requests import DoctorReply, DoctorRequest
from rankone.integrations.requests import LmEvalReply, LmEvalRequest
from rankone.models.sources.known import BUILTIN_MODELS
from rankone.models.sources.names import BUILTIN_DECOMPOSITION, findable
from rankone.opening import Opening
from rankone.verbs.verb import Verb


def doctor(opening: Opening, request: DoctorRequest) -> DoctorReply:
    """Check an installation, a model or an artefact and say what to do; with --clean remove what killed runs left."""
    if request.clean:
        return _clean(Path(request.target or "."), request.dry_run)
    if request.target is not None:
        _require_there(request.target)
    from rankone.doctor.checkup import check

    findings = check(request.target, request.model, opening.corpus, request.tokens, opening.device)
    return DoctorReply(subject=request.target or "the installation", findings=tuple(findings))


def _require_there(target: str) -> None:
    """RankOneError for a name without a folder or an owner that is neither a built-in one nor the code of an error."""
    if family_named(target) is not None:
        return
    if "/" in target or target == BUILTIN_DECOMPOSITION or Path(target).expanduser().exists():
        return
    near = nearest(target, [BUILTIN_DECOMPOSITION]) if target not in BUILTIN_MODELS else ""
    if near:
        raise RankOneError(f"nothing at '{target}'. Check the path.{near}")
    codes = [family.code for family in families()]
    if target not in BUILTIN_MODELS and (close := difflib.get_close_matches(target, codes, 1, cutoff=0.75)):
        raise RankOneError(
            f"'{target}' is neither the code of an error nor a model nor a path. Nearest: {close[0]}."
        )
    findable(target)


def _clean(place: Path, dry_run: bool) -> DoctorReply:
    if not place.is_dir():
        raise RankOneError(f"no folder at '{place}' to look for leftovers in. Check the path.")
    from rankone.doctor.stray import remove_stray, stray

    strays = stray(place) if dry_run else remove_stray(place)
    return DoctorReply(subject=str(place), leftovers=tuple(strays), cleaned=not dry_run)


def lm_eval(opening: Opening, request: LmEvalRequest) -> LmEvalReply:
    """Tasks of lm-eval on a model as it is and with an edit, in one table."""
    from rankone.edits.lowrank import LowRankEdit
    from rankone.integrations.lm_eval import evaluate, version

    edit = LowRankEdit.from_pretrained(request.edit).check_base(opening.model)
    figures = evaluate(opening.model, opening.tokenizer, edit, request)
    return LmEvalReply(
        model=opening.options.model,
        edit=request.edit,
        version=version(),
        limit=request.limit,
        figures=figures,
    ).written_to(request.out)


VERBS = (
    Verb(
        "doctor",
        DoctorRequest,
        DoctorReply,
        doctor,
        ("text", "device"),
        without={"dtype": "a model is checked in float32"},
    ),
    Verb("lm-eval", LmEvalRequest, LmEvalReply, lm_eval, ("model", "device", "dtype"), writes=("out",)),
)
