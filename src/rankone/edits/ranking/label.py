"""Ranking by the words of labels."""

from __future__ import annotations

import torch

from rankone.edits.ranking.asked import Asked, Ranking, Sources
from rankone.labels.by_words import matches


def by_label(asked: Asked, sources: Sources) -> Ranking:
    """Labels that hold all the words, by confidence; of equal confidence the exact words come first."""
    assert asked.label is not None
    labels = sources.require_labels("a ranking by label text")
    by_name = matches(labels, asked.label)
    names, match = list(by_name), torch.tensor(list(by_name.values()))
    confidence = torch.tensor([labels.best(name).confidence for name in names])
    values = torch.where(match > 0, match * confidence, -torch.inf)
    return Ranking(
        f"Labelled “{asked.label}”",
        "score",
        "score: confidence of the label, halved where the words are only the beginnings of its words",
        names,
        values,
        {"confidence": confidence.tolist()},
    )
