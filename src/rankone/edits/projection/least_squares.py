"""Which scales come nearest to a change ΔW of some sites: least squares over rank-one parts, exact and in closed form.

With β_c = α_c − 1, ‖(ΔW − Σ_c β_c u_c v_cᵀ) S^½‖² is least where G β = b, with G_cd = (u_c·u_d)(v_cᵀ S v_d) and
b_c = u_cᵀ ΔW S v_c. S = 1 gives the Frobenius norm; S = E[x xᵀ] of what the site reads gives the mean squared error of its
output on that text. ΔW = write @ read is never formed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.edits.lowrank import Factors

# Of the mean diagonal of G: parts may be linearly dependent, and then any of their solutions will do.
_RIDGE = 1e-12


@dataclass
class SiteProblem:
    """One site: parts by name, G [c, c], b [c], ‖ΔW S^½‖². chosen: those with a β so far, `beta` theirs."""

    names: Sequence[str]
    gram: Float[Tensor, "c c"]
    against: Float[Tensor, " c"]
    squared: float
    entries: int
    chosen: list[int] = field(default_factory=list)
    beta: Float[Tensor, " k"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        reads: Float[Tensor, "d_in c"],
        writes: Float[Tensor, "c d_out"],
        change: Factors,
        second: Float[Tensor, "d_in d_in"] | None = None,
    ) -> SiteProblem:
        """The problem of a site; `second` is S, None for the Frobenius norm."""
        v, u = reads.detach().double().cpu(), writes.detach().double().cpu()
        write, read = change.write.double().cpu(), change.read.double().cpu()
        weighted = read if second is None else read @ second.double().cpu()
        seen = v if second is None else second.double().cpu() @ v
        return cls(
            names,
            (u @ u.T) * (v.T @ seen),
            ((u @ write) * (weighted @ v).T).sum(1),
            float(((write.T @ write) * (weighted @ read.T)).sum()),
            write.shape[0] * read.shape[1],
        )

    def solve(self, chosen: Sequence[int]) -> None:
        """Least squares over the chosen parts; the others keep β = 0."""
        index = torch.tensor(list(chosen), dtype=torch.long)
        gram, against = self.gram[index][:, index], self.against[index]
        if len(index):
            gram = gram + torch.eye(len(index), dtype=gram.dtype) * (_RIDGE * gram.diagonal().mean())
        self.chosen, self.beta = list(chosen), _solved(gram, against)

    def gains(self) -> Float[Tensor, " c"]:
        """By how much each part, added alone, would lower what is left; 0 for those chosen already."""
        index = torch.tensor(self.chosen, dtype=torch.long)
        left = self.against - self.gram[:, index] @ self.beta
        gains = left.square() / self.gram.diagonal().clamp_min(1e-300)
        gains[index] = 0.0
        return gains

    @property
    def explained(self) -> float:
        """Share of ‖ΔW S^½‖² that the chosen parts make."""
        if self.squared == 0:
            return 1.0
        index = torch.tensor(self.chosen, dtype=torch.long)
        quadratic = self.beta @ self.gram[index][:, index] @ self.beta
        return float(2 * self.against[index] @ self.beta - quadratic) / self.squared

    def terms(self) -> dict[str, tuple[float, float]]:
        """Of each chosen part: β, and ‖β u vᵀ S^½‖²."""
        sizes = self.beta.square() * self.gram.diagonal()[torch.tensor(self.chosen, dtype=torch.long)]
        named = [self.names[i] for i in self.chosen]
        return dict(zip(named, zip(self.beta.tolist(), sizes.tolist(), strict=True), strict=True))


def _solved(gram: Float[Tensor, "k k"], against: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    factor, failed = torch.linalg.cholesky_ex(gram)
    if int(failed) == 0:
        return torch.cholesky_solve(against[:, None], factor)[:, 0]
    return torch.linalg.pinv(gram, hermitian=True, rtol=1e-10) @ against


def solve_all(problems: Mapping[str, SiteProblem]) -> None:
    """Every part of every site gets its β."""
    for problem in problems.values():
        problem.solve(range(len(problem.names)))


def solve_sparsely(problems: Mapping[str, SiteProblem], keep: int) -> None:
    """At most `keep` parts over all sites, one at a time: the one that lowers what is left most, then its site anew.

    Orthogonal matching pursuit (Pati et al. 1993): exact where the change is made of parts that do not overlap, greedy else.
    """
    gains = {site: problem.gains() for site, problem in problems.items() if problem.names}
    for _ in range(keep):
        site = max(gains, key=lambda name: float(gains[name].max()), default=None)
        if site is None or float(gains[site].max()) <= 1e-12 * max(problems[site].squared, 1e-300):
            return
        problem = problems[site]
        problem.solve([*problem.chosen, int(gains[site].argmax())])
        gains[site] = problem.gains()
