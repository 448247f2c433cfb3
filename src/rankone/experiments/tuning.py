"""Fitting chosen scales on any text, with what changed on held-out text of every domain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rankone.core.artifact import refuse_existing
from rankone.core.errors import RankOneError
from rankone.edits.fitting.fit import fit_many
from rankone.edits.fitting.run import Fit, Run
from rankone.edits.scales import Scales
from rankone.experiments.config import JobConfig
from rankone.experiments.job import Job
from rankone.experiments.measure import edit_damage
from rankone.render.tables import Table
from rankone.render.terminal import print_table
from rankone.runtime.progress import log, meter
from rankone.text.corpus import require_domain
from rankone.workspace import Workspace


def tune(
    workspace: Workspace,
    components: Mapping[str, list[str]],
    *,
    forget: str,
    retain: str,
    budget: int,
    seed: int,
    learning_rate: float,
    retain_weight: float,
    steps: int,
    save: Path | None = None,
) -> Fit:
    """Fit one scale per component, print the scales and the change per domain, and save the edit if asked.

    components: label → the subcomponents that share a scale.
    """
    if save is not None:
        refuse_existing(save)
    if not components:
        raise RankOneError("no component given: --components SITE:NUMBER[,SITE:NUMBER…].")
    if budget < 1:
        raise RankOneError(f"--budget is {budget}; at least 1 forget token is needed.")
    for domain in (forget, retain):
        require_domain(workspace.corpus, domain)
    config = JobConfig.checked(
        {
            "forget": forget,
            "retain": retain,
            "trained": [forget, retain],
            "evaluated": workspace.corpus.domains(),
            "budgets": {"scalar": [budget]},
            "fit": {"steps": steps},
            "rates": {"scalar": {budget: {"learning_rate": learning_rate, "retain_weight": retain_weight}}},
        },
        "tune",
    )
    job = Job(config, workspace)
    rate = config.rate("scalar", budget)
    run = Run(job.forget_text(budget, seed), seed, rate.retain_weight, rate.learning_rate, rate.margin)
    method = Scales(workspace.require_parts(), components)
    with meter("fit", steps) as bar:
        (fit,) = fit_many(workspace.model, method, [run], job.retain_text, config.fit, bar)
    _report(job, method, fit)
    if save is not None:
        provenance = {"forget": forget, "retain": retain, "budget": budget, "seed": seed, "steps": fit.steps}
        provenance["components"] = dict(components)
        fit.edit.bind(workspace.model).save_pretrained(save, provenance)
        log.info(f"saved {save}")
    return fit


def _report(job: Job, method: Scales, fit: Fit) -> None:
    scales = {name: float(fit.parameters["alpha"][i]) for i, name in enumerate(method.components)}
    print_table(
        Table.of(
            f"Scales after {fit.steps} steps",
            ["component", "α"],
            [[n, f"{a:+.3f}"] for n, a in scales.items()],
        )
    )
    test = job.text("test", job.config.test_tokens)
    found = edit_damage(job.workspace.model, fit.edit, test)
    rows = [[d, job.role(d), own.base, own.edited, own.shown] for d, own in found.items()]
    caption = f"chance {job.workspace.chance:.3f}; nats per token on held-out test text; rise with its 95 % interval"
    print_table(Table.of("What changed", ["domain", "role", "CE before", "CE after", "rise"], rows, caption))
