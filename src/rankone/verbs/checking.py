"""The verb that checks: doctor."""

from __future__ import annotations

from pathlib import Path

from rankone.doctor.requests import DoctorReply, DoctorRequest
from rankone.opening import Opening
from rankone.verbs.verb import Verb


def doctor(opening: Opening, request: DoctorRequest) -> DoctorReply:
    """Check an installation, a model or an artefact and say what to do; with --clean remove what killed runs left."""
    if request.clean:
        return _clean(Path(request.target or "."), request.dry_run)
    from rankone.doctor.checkup import check

    findings = check(request.target, request.model, opening.corpus, request.tokens)
    return DoctorReply(subject=request.target or "the installation", findings=tuple(findings))


def _clean(place: Path, dry_run: bool) -> DoctorReply:
    from rankone.doctor.stray import remove_stray, stray

    strays = stray(place) if dry_run else remove_stray(place)
    return DoctorReply(subject=str(place), leftovers=tuple(strays), cleaned=not dry_run)


VERBS = (Verb("doctor", DoctorRequest, DoctorReply, doctor, ("text",)),)
