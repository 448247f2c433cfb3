"""The model in float64, for adding up edges: where a dot product cancels, fp32 leaves too few digits of it.

A part that reads next to nothing (v·x a millionth of ‖v‖‖x‖) has a value, and edges, of which fp32 holds three digits: both
are right to rounding and yet differ by more than 1e-5 of each other. Nothing but more digits helps.
"""

from __future__ import annotations

import copy

import torch
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError


def doubled(model: PreTrainedModel) -> PreTrainedModel:
    """A copy in float64 of a model in fp32, which holds the same numbers; a model in float64 as it is.

    Raises RankOneError for a device that has no float64.
    """
    if model.device.type == "mps":
        raise RankOneError("this device has no float64: give --precision float32, or --device cpu.")
    return model if model.dtype == torch.float64 else copy.deepcopy(model).double()
