"""Measuring a model on every domain of a corpus, as a table and a file that other results can stand beside."""

from __future__ import annotations

from pathlib import Path

from rankone.core.artifact import MANIFEST, environment, open_artifact, write_json
from rankone.edits.lowrank import LowRankEdit
from rankone.experiments.requests import Measured, MeasuredWith, MeasureRequest, NamedModel
from rankone.metrics.cross_entropy import text_losses
from rankone.metrics.damage import damages
from rankone.metrics.damage_record import Damage, DomainDamage
from rankone.models.sources.names import resolve
from rankone.runtime.progress import SHORT, meter
from rankone.text.corpus import TextRecord, described
from rankone.text.passages import shortages
from rankone.workspace import Workspace


def measure_model(name: str, workspace: Workspace, request: MeasureRequest) -> Measured:
    """Cross-entropy of the domains asked for over the first `tokens` tokens of a split, with an edit too if one is named;
    saved to `out`, if that is.

    name: where the workspace's model was loaded from, for provenance.
    """
    saved = request.edit
    edit = None if saved is None else LowRankEdit.from_pretrained(saved).check_base(workspace.model)
    corpus = workspace.corpus
    text = workspace.text(request.domains or corpus.domains(), request.split, request.tokens)
    damage = dict[str, Damage]()
    with meter("measure", len(text) * (1 if edit is None else 2), after=SHORT) as bar:
        scored = text_losses(workspace.model, text, bar)
        if edit is not None:
            base = scored
            with edit.applied(workspace.model):
                scored = text_losses(workspace.model, text, bar)
            damage = damages(base, scored)
    source = resolve(name)
    made = isinstance(source, Path) and (source / MANIFEST).is_file()
    measured = Measured(
        model=Path(str(source)).name,
        text=TextRecord.checked(described(corpus), corpus.name),
        split=request.split,
        tokens=request.tokens,
        chance=workspace.chance,
        ce={d: losses.mean for d, losses in scored.items()},
        error={d: losses.error for d, losses in scored.items()},
        short=shortages(text, request.tokens),
        edit=request.edit,
        damage=tuple(DomainDamage.of(d, one) for d, one in damage.items()),
        provenance=MeasuredWith.checked(
            {**environment(), "model": open_artifact(source).manifest if made else NamedModel(name=name)},
            "provenance",
        ),
    )
    if request.out is not None:
        write_json(request.out, measured.model_dump(mode="json"), new=True)
    return measured
