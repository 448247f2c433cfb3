"""The one edit type: W' = W + write @ read at some sites.

A set of scales α on subcomponents u vᵀ is the edit with columns (α − 1) u and rows vᵀ; a LoRA is one with
columns B and rows A; an ablated direction is one with −v and vᵀ W. All are applied, removed, added, merged,
saved and exported by the same few functions.
"""

from rankone.edits.lowrank.applied import refuse_applied
from rankone.edits.lowrank.edit import LowRankEdit
from rankone.edits.lowrank.factors import Factors
from rankone.edits.lowrank.merging import Merged, MergeReport, SiteMerge, cast_parameters

__all__ = [
    "Factors",
    "LowRankEdit",
    "MergeReport",
    "Merged",
    "SiteMerge",
    "cast_parameters",
    "refuse_applied",
]
