"""What the worker says, each a model: the types of the page are written from them; importable without PyTorch."""

from __future__ import annotations

from typing import Literal

from rankone.answers.requests import Answer
from rankone.circuits.asking.replies import GraphReply, GroupRow, NodeRow
from rankone.core.config import Record
from rankone.metrics.damage_record import DomainDamage


class Judged(Record):
    """A line of a decomposition's verdict. met: a property holds, or a known failure is absent; None: not measured."""

    of: Literal["property", "failure"]
    name: str
    met: bool | None
    said: str
    bar: str


class Subject(Record):
    """What is open. chance: ln of the vocabulary, nats; parts: subcomponents of the decomposition, 0 without one.

    verdict: of the decomposition's evidence; empty where it has none.
    """

    model: str
    parameters: int
    parts: int
    chance: float
    domains: tuple[str, ...]
    device: str
    verdict: tuple[Judged, ...]


class Divergence(Record):
    """KL(base ‖ edited) over the tokens of the first look, nats: mean, 99th percentile, largest."""

    mean: float
    p99: float
    largest: float


class Hit(Record):
    """A token whose cross-entropy rises: by how many nats, and the text before it."""

    before: str
    token: str
    rise: float


class Measured(Record):
    """One domain at the dials' scales. tokens: how many were asked for; worst: the tokens hit worst."""

    damage: DomainDamage
    tokens: int
    kl: Divergence | None = None
    worst: tuple[Hit, ...] = ()


class Cut(Record):
    """Domains that were not measured on so many tokens, since the time was up."""

    tokens: int
    domains: tuple[str, ...]
    seconds: float


class Sized(Record):
    """Before the dials' figures: chance, nats, and Σ ‖ΔW‖ of the parts that are turned."""

    chance: float
    size: float


class Reading(Record):
    """Before figures: how many portions of the text the unedited model has read, of how many."""

    read: int
    of: int


class MeasuredRow(Record):
    """A domain's figures as they come."""

    row: Measured


class CutShort(Record):
    """What is missing of the dials' figures."""

    cut: Cut


class ResponsePoint(Record):
    """Rises of a part's scale at one α, by domain, nats per token; cut: domains that time was too short for."""

    alpha: float
    rises: dict[str, float]
    tokens: int
    cut: tuple[str, ...]


class Side(Answer):
    """What the model says without or with the dials."""

    side: Literal["before", "after"]


class Important(Record):
    """A part that matters at a token, and its causal importance there."""

    part: str
    importance: float


class TokenView(Record):
    """A token of a text. sums: Σ of importances by site. top: the parts that matter more here than they usually do."""

    text: str
    sums: tuple[float, ...]
    top: tuple[Important, ...]


class PromptView(Record):
    """Which parts matter where in a text; sites in the order of `sums`."""

    sites: tuple[str, ...]
    tokens: tuple[TokenView, ...]


class Importances(Record):
    """Causal importances of parts at one token, in the order in which they were named."""

    values: tuple[float, ...]


class GraphView(Record):
    """A saved graph in figures. exact: whether all that should be exact is; None where nothing was checked."""

    graph: GraphReply
    exact: bool | None
    pinned: tuple[NodeRow, ...]
    groups: tuple[GroupRow, ...]


class Near(Record):
    """A part that another one is near to: by the cosine of their directions, or by how often both fire (jaccard)."""

    part: str
    value: float
    label: str = ""


class LabelView(Record):
    """A label with who says it, how sure, why. cut: how many characters there are of what is longer than is shown."""

    label: str
    source: str
    confidence: float
    reasoning: str
    scores: dict[str, float]
    cut: dict[str, int]


class TextPage(Record):
    """A page of a label's whole text, hidden characters made visible; pages: how many there are."""

    text: str
    pages: int


class TokenShare(Record):
    """A token with its PMI (nats), and the share of the firings that are on it."""

    token: str
    pmi: float
    share: float


class ExampleView(Record):
    """A window of text around a firing; importances of its tokens."""

    domain: str
    centre: int
    tokens: tuple[str, ...]
    importances: tuple[float, ...]


class DomainFigures(Record):
    """A part on the text of one domain, as `DomainRow` has it: share of tokens it fires on, means over all of them."""

    domain: str
    tokens: int
    density: float
    importance: float
    activation: float
    lift: float


class HarvestView(Record):
    """What a harvest stored about a part. domains: the one that it fires on most first."""

    source: str
    tokens: int
    firings: int
    domains: tuple[DomainFigures, ...]
    labels: tuple[LabelView, ...]
    inputs: tuple[TokenShare, ...]
    outputs: tuple[TokenShare, ...]
    cofiring: tuple[Near, ...]
    examples: tuple[ExampleView, ...]


class PartView(Record):
    """One part as the page shows it; harvest: None where none is open. directions: near parts by the kind of nearness."""

    name: str
    harvest: HarvestView | None
    directions: dict[str, tuple[Near, ...]]
