"""A change of weights projected onto parts: the scales that come nearest, and what is left over, as edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.adapter_reading import is_adapter, read_adapter
from rankone.edits.lowrank import Factors, LowRankEdit
from rankone.edits.projection.least_squares import SiteProblem, solve_all, solve_sparsely
from rankone.edits.projection.requests import PartShare, SiteShare
from rankone.edits.scales import scale_edit
from rankone.parts.book import Book


@dataclass(frozen=True)
class Projection:
    """A change and its nearest scales. squared: ‖ΔW S^½‖² of all sites."""

    change: LowRankEdit
    book: Book
    problems: Mapping[str, SiteProblem]

    @property
    def squared(self) -> float:
        """Squared norm of the whole change."""
        return sum(problem.squared for problem in self.problems.values())

    @property
    def explained(self) -> float:
        """Share of the whole change that scaled parts make."""
        made = sum(p.explained * p.squared for p in self.problems.values())
        return made / self.squared if self.squared else 1.0

    def scales(self) -> dict[str, float]:
        """Part → α, of all that are scaled."""
        return {name: 1 + beta for p in self.problems.values() for name, (beta, _) in p.terms().items()}

    def edit(self) -> LowRankEdit:
        """The scales as an edit."""
        return scale_edit(self.book, self.scales(), f"projection of {self.change.description}")

    def left_over(self) -> LowRankEdit:
        """The change without its projection."""
        rest = self.change.compose(self.edit().invert())
        return LowRankEdit(rest.factors, f"what is left over of {self.change.description}", "left over")

    def sites(self) -> list[SiteShare]:
        """One row per site, the largest share of the change first."""
        whole = self.squared or 1.0
        rows = [
            SiteShare(
                site=site,
                parts=len(p.names),
                kept=len(p.chosen),
                size=p.squared / whole,
                explained=p.explained,
                by_chance=min(1.0, len(p.chosen) / p.entries),
            )
            for site, p in self.problems.items()
        ]
        return sorted(rows, key=lambda row: -row.size)

    def parts(self) -> list[PartShare]:
        """One row per scaled part, the largest term first."""
        whole = self.squared or 1.0
        rows = [
            PartShare(part=name, alpha=1 + beta, size=size / whole)
            for p in self.problems.values()
            for name, (beta, size) in p.terms().items()
        ]
        return sorted(rows, key=lambda row: -row.size)


def read_change(path: Path, model: PreTrainedModel) -> LowRankEdit:
    """A PEFT LoRA folder or a saved edit, bound to the model; RankOneError where it does not fit."""
    if is_adapter(path):
        return LowRankEdit(read_adapter(path), path.name, "LoRA").bind(model)
    return LowRankEdit.from_pretrained(path).check_base(model)


def project(
    change: LowRankEdit,
    book: Book,
    second: Mapping[str, Tensor] | None = None,
    keep: int | None = None,
) -> Projection:
    """The scales of the book's parts that come nearest to a change.

    second: E[x xᵀ] [d_in, d_in] of each site, None for the Frobenius norm. keep: at most so many parts. RankOneError
    where the book has no part at any site of the change.
    """
    with torch.no_grad():
        problems = {
            site: _problem(site, factors, book, None if second is None else second[site])
            for site, factors in change.factors.items()
        }
        if not any(problem.names for problem in problems.values()):
            raise RankOneError(
                f"no part is open at any site of the change ({', '.join(change.sites[:3])}). Give a decomposition or parts "
                "of these sites, or --sources singular."
            )
        if keep is None:
            solve_all(problems)
        else:
            solve_sparsely(problems, keep)
    return Projection(change, book, problems)


def _problem(site: str, factors: Factors, book: Book, second: Tensor | None) -> SiteProblem:
    names = book.names_at(site)
    if not names:
        d_in, d_out = factors.read.shape[1], factors.write.shape[0]
        return SiteProblem.of([], torch.zeros(d_in, 0), torch.zeros(0, d_out), factors, second)
    reads, writes = book.factors_at(site)
    return SiteProblem.of(names, reads, writes, factors, second)
