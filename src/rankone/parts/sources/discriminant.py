"""Regularised discriminants: what tells wanted text from other text best, and the direction it goes along.

z is a site's input, or its output (whichever the moments are of). The filters f are the leading generalised eigenvectors of
M_wanted f = λ (M_others + ρ tr(M_others)/d · I) f: the largest E_own[(f·z)²] at a given E_others[(f·z)²], so little of other
text leaks through them. What a filter responds to moves z along its pattern p = M_wanted f / (fᵀ M_own f) (pᵀ f = 1; Haufe
et al. 2014), the regression of z on f·z, so the part takes z to z + (α − 1) p (f·z): on inputs v = f, u = W p; on outputs
v = Wᵀ f, u = p.
"""

# torch.linalg and norms have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from rankone.parts.sources.material import Made, Material, numbered


def discriminant(material: Material) -> Made:
    """The `count` best filters with their patterns, the best first, ‖u‖ = 1."""
    wanted, others = material.both()
    filters = leading_filters(wanted.second, others.second, material.ridge, material.count)
    patterns = filters @ wanted.second
    patterns = patterns / (patterns * filters).sum(1, keepdim=True).clamp_min(1e-20)
    if wanted.of_output:
        read, write = filters @ wanted.weight, patterns
    else:
        read, write = filters, patterns @ wanted.weight.T
    size = write.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return numbered(((read * size).T.contiguous(), (write / size).contiguous()))


def leading_filters(
    wanted: Float[Tensor, "d d"], others: Float[Tensor, "d d"], ridge: float, count: int
) -> Float[Tensor, "count d"]:
    """Generalised eigenvectors of (wanted, others + ridge · mean eigenvalue · I) with the largest eigenvalues."""
    level = ridge * float(others.diagonal().mean().clamp_min(1e-20))
    root = torch.linalg.cholesky(others.double().cpu() + level * torch.eye(len(others), dtype=torch.float64))
    wanted64 = wanted.double().cpu()

    def back(vector: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(root.T, vector.reshape(-1, 1), upper=True)

    def whitened(vector: np.ndarray) -> np.ndarray:
        """R⁻¹ M_wanted R⁻ᵀ x with M_others + ρ… = R Rᵀ: no matrix is formed, few products are needed."""
        moved = wanted64 @ back(torch.from_numpy(np.ascontiguousarray(vector)))
        return torch.linalg.solve_triangular(root, moved, upper=False).ravel().numpy()

    size = len(others)
    if count >= size - 1:
        half = torch.linalg.solve_triangular(root, wanted64, upper=False)
        white = torch.linalg.solve_triangular(root, half.T, upper=False)
        vectors = torch.linalg.eigh((white + white.T) / 2).eigenvectors[:, -count:]
    else:
        operator = LinearOperator((size, size), matvec=whitened, dtype=np.float64)  # pyright: ignore[reportCallIssue]
        start = np.ones(size) / np.sqrt(size)
        vectors = torch.from_numpy(eigsh(operator, k=count, which="LA", v0=start)[1])
    filters = torch.linalg.solve_triangular(root.T, vectors.flip(1), upper=True).T
    return filters.to(wanted)
