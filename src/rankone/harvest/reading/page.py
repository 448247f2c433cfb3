"""What a harvest knows of one part, a subcomponent or a component: what labels, search and `show` read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DomainRow:
    """One part on the text of one domain.

    density: share of the domain's tokens with importance above the harvest's firing threshold; mean_importance and
    mean_activation (signed ‖u‖ v·x) over all tokens of the domain; lift: density over the density on all text.
    """

    domain: str
    tokens: int
    firings: int
    density: float
    mean_importance: float
    mean_activation: float
    lift: float


@dataclass(frozen=True)
class TokenRow:
    """One vocabulary entry and one part.

    weight: for inputs the number of firings on this token, for outputs the probability mass the model gave it at firing
    positions. pmi: log(weight · N / (firings · total weight of the token)), nats. precision: weight / firings.
    recall: weight / total weight of the token. lift: exp(pmi).
    """

    token_id: int
    text: str
    weight: float
    pmi: float
    precision: float
    recall: float
    lift: float


def most_informative(rows: Iterable[TokenRow], top: int | None = None) -> list[TokenRow]:
    """The `top` rows (or all) that carry most information, weight × PMI: PMI alone favours what was seen once."""
    return sorted(rows, key=lambda row: (-row.weight * row.pmi, row.token_id))[:top]


@dataclass(frozen=True)
class CofiringRow:
    """Another part and how often both fire: joint count, and jaccard = joint / either."""

    part: str
    joint: int
    jaccard: float


@dataclass(frozen=True)
class MemberRow:
    """A subcomponent of a component: at how many positions it fires, and the share of the component's firings they are."""

    subcomponent: str
    firings: int
    share: float


@dataclass(frozen=True)
class Example:
    """A window of text around one firing position `centre`; all lists have one entry per token of the window."""

    domain: str
    tokens: list[str]
    ids: list[int]
    importances: list[float]
    activations: list[float]
    centre: int


@dataclass(frozen=True)
class PartPage:
    """All a harvest stored about one part.

    firings: count above the firing threshold; densities: share of all tokens above each stored threshold.
    input_tokens and output_tokens are sorted by pmi, then weight, falling; examples are a uniform sample of the firings.
    members: of a component, the one that fires most first.
    """

    part: str
    tokens: int
    firings: int
    densities: dict[float, float]
    mean_importance: float
    mean_activation: float
    domains: list[DomainRow]
    input_tokens: list[TokenRow]
    output_tokens: list[TokenRow]
    cofiring: list[CofiringRow]
    examples: list[Example]
    members: list[MemberRow] = field(default_factory=list)
