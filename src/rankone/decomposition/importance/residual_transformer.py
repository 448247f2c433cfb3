"""One transformer over the residual stream: the input of every block in place of the input of every site.

What it reads does not grow with the number of sites in a block, and the projection into it shrinks from Σ d_in
(which counts the MLP's hidden width and one residual stream for each of q, k, v) to one stream per block.
Source: the residual taps of the paper's later public code.
"""

from __future__ import annotations

from typing import ClassVar

from rankone.decomposition.importance.function import Taps
from rankone.decomposition.importance.shared_transformer import SharedTransformer


class ResidualTransformer(SharedTransformer):
    """The shared transformer on block inputs: `widths` is the residual stream's width once per block."""

    taps: ClassVar[Taps] = "blocks"
