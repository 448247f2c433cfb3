"""What a ranking is asked for, what it may be made from, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from rankone.clustering.components import Components
from rankone.core.errors import RankOneError
from rankone.decomposition.model import DecomposedModel
from rankone.harvest.counting.grouping import Grouping
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.reading.summary import Importances, mean_importances
from rankone.labels.store import Labels
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace


@dataclass(frozen=True)
class Asked:
    """A request; each criterion reads some of the fields and a field that it does not read is refused.

    of, against: groups of domains. token: a word that is one token. label: words of a label. penalty: weight of what a
    scale does to `against`.
    """

    of: Sequence[str] = ()
    against: Sequence[str] = ()
    token: str | None = None
    label: str | None = None
    penalty: float | None = None

    def given(self) -> list[str]:
        """The names of the fields that were set."""
        values = vars(self).items()
        return [name for name, value in values if value is not None and value != ()]


@dataclass(frozen=True)
class Ranking:
    """Subcomponents, or components, with a score; `order` sorts by it, largest first.

    columns: values beside the score, by heading, in the order of `names`; `score` names the unit of the score.
    """

    title: str
    score: str
    note: str
    names: list[str]
    values: Float[Tensor, " subcomponents"]
    columns: Mapping[str, Sequence[object]] = field(default_factory=dict)

    def order(self, top: int) -> list[int]:
        """Places in `names` of the best; those with a score of −∞ do not match and are left out."""
        best = self.values.topk(min(top, len(self.values)))
        return [
            i for i, v in zip(best.indices.tolist(), best.values.tolist(), strict=True) if v > -float("inf")
        ]


@dataclass
class Sources:
    """What a ranking is made from. The workspace is opened only when a criterion needs it.

    domains: those that are compared. tokens: training tokens read per domain, where no harvest holds the counts. clusters:
    components to rank in place of subcomponents; a harvest beside them counts these.
    """

    open: Callable[[], Workspace]
    domains: Sequence[str]
    tokens: int = 3000
    harvest: HarvestStore | None = None
    labels: Labels | None = None
    clusters: Components | None = None
    sized: bool = False

    @property
    def meaning(self) -> str:
        """What the mean importances are."""
        if self.sized:
            return "mean size of the activation, 0 at its .9 quantile on text and 1 at its .99"
        return "mean causal importance"

    @cached_property
    def workspace(self) -> Workspace:
        """Model, tokenizer, parts and text."""
        return self.open()

    def text(self, domains: Sequence[str]) -> dict[str, Blocks]:
        """Training text of some domains."""
        return self.workspace.text(domains, "train", self.tokens)

    @cached_property
    def grouping(self) -> Grouping | None:
        """The components to rank, None for subcomponents."""
        source = self.clusters
        if self.harvest is not None and self.harvest.clusters is not None:
            source = self.harvest
        return None if source is None else source.grouping(self.workspace.decomposition)

    @cached_property
    def names(self) -> list[str]:
        """What is ranked, in order."""
        return self.workspace.require_parts().names() if self.grouping is None else self.grouping.names

    @cached_property
    def importances(self) -> Importances:
        """Mean importance per domain: the harvest's, or counted now on training text."""
        if self.harvest is not None:
            return self.harvest.importances().only(self.domains)
        with DecomposedModel(self.workspace.model, self.workspace.decomposition) as decomposed:
            return mean_importances(decomposed, self.text(self.domains), self.grouping)

    def require_harvest(self, what: str) -> HarvestStore:
        """The harvest, or an error that says what it is needed for."""
        if self.harvest is None:
            raise RankOneError(f"{what} needs a harvest: give --harvest DIR (made by `rankone harvest`).")
        return self.harvest

    def require_labels(self, what: str) -> Labels:
        """The labels, or an error that says what they are needed for."""
        if self.labels is None:
            raise RankOneError(f"{what} needs labels: give --labels DIR (made by `rankone label`).")
        return self.labels
