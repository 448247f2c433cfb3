"""Lists of many parts, made from the shipped one's labels, with hostile text among them."""

from __future__ import annotations

import numpy as np
from tests.studio.hostile import HOSTILE

from rankone.core.escaping import clipped
from rankone.studio.listed.columns import SHIPPED, PartColumns, read_columns

PER_SITE = 4000


def long_columns(count: int, seed: int) -> PartColumns:
    """Columns of `count` parts; the label of each of the first says its number: hostile0x, hostile1x, …"""
    rng, shipped = np.random.default_rng(seed), read_columns(SHIPPED)
    labels = [clipped(f"{text} hostile{i}x", 200) for i, text in enumerate(HOSTILE)]
    labels += [shipped.label[i % len(shipped.label)] for i in range(count - len(HOSTILE))]

    def column(power: int) -> tuple[float, ...]:
        return tuple((rng.random(count) ** power).round(4).tolist())

    return shipped.model_copy(
        update={
            "sites": tuple(f"model.layers.{i}.mlp.down_proj" for i in range(count // PER_SITE)),
            "site": tuple(i // PER_SITE for i in range(count)),
            "number": tuple(i % PER_SITE for i in range(count)),
            "label": tuple(labels),
            "label_source": (0,) * count,
            "confidence": column(1),
            "density": column(4),
            "importance": column(4),
            "by_domain": tuple(column(6) for _ in shipped.domains),
        }
    )
