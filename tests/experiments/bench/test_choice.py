"""What validation text chooses: how large a fit is at matched removal."""

from __future__ import annotations

import pytest
import torch

from rankone.edits.fitting.aim import Aim
from rankone.experiments.bench.choice import best_size
from rankone.experiments.bench.ledger import DomainResult


class _Removes:
    """Text that is at chance at a change of 4, and English that rises by .005 nats a unit; beyond 16 all breaks."""

    def __init__(self, error=None):
        self.error = error

    def resized(self, parameters, size):
        return {"size": parameters["size"] * size}

    def results(self, _, stacked):
        assert len(stacked["size"]) <= 5

        def result(base, ce):
            passages = ((10, 20.0, 0.0),) * 5
            return DomainResult(
                ce_base=base, ce=ce, error=self.error, rise_p99=0.0, bits=0.0, passages=passages
            )

        return [
            {
                "de": result(2.0, 2.0 + float(s)),
                "en": result(2.0, 2.0 + 0.005 * float(s) if s < 16 else float("nan")),
            }
            for s in stacked["size"]
        ]


def test_the_size_of_matched_removal_is_where_validation_text_is_at_chance():
    aim = Aim(forget="de", retain=("en",), chance=6.0)
    for fitted in (1.0, 0.3, 7.0):
        size = best_size(_Removes(), _Removes(), {"size": torch.tensor(fitted)}, aim, at_once=5)
        assert fitted * size == pytest.approx(4.0, rel=0.07)
    # Surely: the lower end of a one-sided 90% interval, 1.533 standard errors with five passages.
    assert best_size(_Removes(1.0), _Removes(), {"size": torch.tensor(1.0)}, aim, 5) == pytest.approx(
        5.533, rel=0.07
    )
