"""How many bits it takes to say what fires, given groups of subcomponents; and what a merge changes.

A group fires where any of its members does (OR). With k groups, s_i firings and r_i members of group i, ρ bits per
firing and member,

    L = Σ_i s_i (log2 k + ρ r_i) = S log2 k + ρ R,        S = Σ s_i,  R = Σ s_i r_i

(the description length of "Adversarial Parameter Decomposition"). Merging i and j, which fire together at c positions,
makes one group of s_i + s_j − c firings and r_i + r_j members, hence

    ΔL = S log2((k − 1)/k) + f_ij − c log2(k − 1),        f_ij = ρ [s_i r_j + s_j r_i − c (r_i + r_j)].

The first term is the same for every pair. f_ij and c belong to the pair alone and stay as they are until i or j is
merged. So the order of pairs depends on k only through c log2(k − 1), and as k falls the *cost* f_ij − c log2(k − 1) of a
pair can only rise. That is what `pool.py` uses.
"""

from __future__ import annotations

import math

import numpy as np


def description_length(sizes: np.ndarray, members: np.ndarray, rank_penalty: float) -> float:
    """L in bits of groups with the given firings and numbers of members."""
    return length_from_sums(int(sizes.sum()), int((sizes * members).sum()), len(sizes), rank_penalty)


def length_from_sums(firings: int, weighted: int, groups: int, rank_penalty: float) -> float:
    """L in bits from S = Σ s_i, R = Σ s_i r_i and k."""
    return firings * math.log2(groups) + rank_penalty * weighted


def fixed_cost(
    sizes: tuple[np.ndarray, np.ndarray],
    members: tuple[np.ndarray, np.ndarray],
    joint: np.ndarray,
    rank_penalty: float,
) -> np.ndarray:
    """f_ij of pairs, in bits; all arguments broadcast."""
    (s_i, s_j), (r_i, r_j) = sizes, members
    return rank_penalty * (s_i * r_j + s_j * r_i - joint * (r_i + r_j))


def cost(fixed: np.ndarray, joint: np.ndarray, groups: int) -> np.ndarray:
    """What orders pairs: ΔL without the term that all pairs share."""
    return fixed - joint * math.log2(groups - 1)
