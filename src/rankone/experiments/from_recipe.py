"""A job from its recipe, with everything it needs opened."""

from __future__ import annotations

from pathlib import Path

from rankone.core.schemas.evidence import FILE
from rankone.decomposition.evidence.records import read_outline
from rankone.experiments.config import read_job
from rankone.experiments.job import Job
from rankone.opening import Opening, OpenOptions
from rankone.runtime.progress import log


def job_from_recipe(
    recipe: Path | None,
    text: str | None,
    rates: bool = True,
    harvest: Path | None = None,
    labels: Path | None = None,
    computed: OpenOptions | None = None,
) -> Job:
    """A job from its recipe (the demo's where none is named), on other text and with a harvest if these are named.

    computed: on which device and in which numbers. Paths that are given are from here, those in a recipe from the
    recipe. Domains that the other text lacks are left out.
    """
    config = read_job(recipe, text, rates, harvest, labels)
    named = {
        "model": config.model,
        "decomposition": config.decomposition,
        "text": config.text,
        **(computed or OpenOptions()).model_dump(include={"device", "dtype"}),
    }
    opening = Opening(OpenOptions.checked(named, "job"))
    corpus = opening.corpus
    if text is not None:
        left_out = sorted({*config.trained, *config.evaluated} - set(corpus.domains()))
        config = config.on_domains(corpus.domains())
        if left_out:
            log.info(f"'{text}' has no text for {', '.join(left_out)}: not looked at")
    artifact = opening.decomposition_artifact
    evidence = read_outline(artifact.json(FILE), str(artifact.path / FILE)) if FILE in artifact else None
    return Job(config, opening.workspace, evidence)
