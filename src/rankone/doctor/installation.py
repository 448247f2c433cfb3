"""The check-up of an installation: Python, the packages RankOne needs and may use, and what it ships."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement

from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.core.provenance import git_revision
from rankone.doctor.extras import GIVES
from rankone.doctor.finding import Finding, note, ok, refused, wrong
from rankone.models.sources.known import BUILTIN_MODELS
from rankone.models.sources.names import ASSETS

LEAST_PYTHON = (3, 11)


def check_installation() -> Iterator[Finding]:
    """RankOne and Python, required packages, extras, and the models in the package."""
    yield _rankone()
    yield _python(sys.version_info[:2])
    required = requirements()
    yield from _required(required[""])
    for extra in sorted(set(required) - {""}):
        yield _extra(extra, required[extra])
    yield from _shipped()


def requirements() -> dict[str, list[Requirement]]:
    """The requirements of RankOne as it is installed, by extra, '' for those without one."""
    by_extra: dict[str, list[Requirement]] = {"": []}
    for text in metadata.requires("rankone") or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        named = metadata.metadata("rankone").get_all("Provides-Extra") or ()
        extras = [e for e in named if requirement.marker and requirement.marker.evaluate({"extra": e})]
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            by_extra[""].append(requirement)
            continue
        for extra in extras:
            by_extra.setdefault(extra, []).append(requirement)
    return by_extra


def unmet(requirement: Requirement) -> str | None:
    """What is wrong with an installed package for a requirement, or None."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return f"{requirement.name} is {version}, needed is {requirement.specifier}"


def _rankone() -> Finding:
    revision = git_revision()
    return ok("rankone", metadata.version("rankone") + (f" at {revision[:12]}" if revision else ""))


def _python(version: tuple[int, ...]) -> Finding:
    if version < LEAST_PYTHON:
        return wrong("python", f"{platform.python_version()} is too old", "Use Python 3.11 or newer.")
    return ok("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _required(needed: list[Requirement]) -> Iterator[Finding]:
    lacking = [said for requirement in needed if (said := unmet(requirement))]
    if not lacking:
        yield ok("packages", f"all {len(needed)} that RankOne needs, in versions it knows")
    for said in lacking:
        yield wrong("packages", said, "Install RankOne again: pip install --upgrade rankone.")


def _extra(extra: str, needed: list[Requirement]) -> Finding:
    gives, lacking = GIVES.get(extra, ""), [said for requirement in needed if (said := unmet(requirement))]
    if not lacking:
        return ok(f"extra {extra}", gives)
    return note(f"extra {extra}", f"{gives}: {lacking[0]}", f"If wanted: pip install 'rankone[{extra}]'.")


def _shipped() -> Iterator[Finding]:
    """The built-in model and its decomposition, every file against its hash."""
    for name in (*BUILTIN_MODELS, "mini-decomposition"):
        try:
            open_artifact(ASSETS / name)
        except RankOneError as error:
            yield refused(f"built-in {name}", error)
        else:
            yield ok(f"built-in {name}", "unaltered")
