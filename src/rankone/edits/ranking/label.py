"""Ranking by the words of labels."""

from __future__ import annotations

import torch

from rankone.core.errors import RankOneError
from rankone.edits.ranking.asked import Asked, Ranking, Sources
from rankone.labels.query import Query
from rankone.labels.search import none_labelled


def by_label(asked: Asked, sources: Sources) -> Ranking:
    """Labels that hold all the words, by confidence; of equal confidence the exact words come first."""
    assert asked.label is not None
    labels = sources.require_labels("a ranking by label text")
    names = labels.names()
    best = [labels.best(name) for name in names]
    query = Query.read(asked.label)
    match = torch.tensor([query.match(label.label) for label in best])
    confidence = torch.tensor([label.confidence for label in best])
    values = torch.where(match > 0, match * confidence, -torch.inf)
    if not (match > 0).any():
        raise RankOneError(none_labelled(labels, asked.label))
    return Ranking(
        f"Labelled “{asked.label}”",
        "score",
        "score: confidence of the label, halved where the words are only the beginnings of its words",
        names,
        values,
        {"confidence": confidence.tolist()},
    )
