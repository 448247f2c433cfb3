"""What is said of a graph in `graph.json`; nothing here needs PyTorch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rankone.core.config import Record

Rule = Literal["frozen", "grad"]
RULES: tuple[Rule, ...] = ("frozen", "grad")
Kind = Literal[
    "subcomponent",
    "unselected",
    "delta",
    "undecomposed",
    "bias",
    "embedding",
    "position",
    "operation bias",
    "output",
]
# What a graph does not explain.
REST: tuple[Kind, ...] = ("unselected", "delta", "undecomposed")
NodeSet = Literal["natural", "optimised", "ci", "strongest", "all", "named"]
Precision = Literal["float64", "float32"]
MaskMode = Literal["importance", "binary", "stochastic", "adversarial", "adversarial, all sources"]


class OutputRecord(Record):
    """An output node: its text, its tokens and factors, its probability in the target (None for a contrast)."""

    text: str
    tokens: tuple[int, ...]
    factors: tuple[float, ...]
    probability: float | None
    value: float


class MaskedRow(Record):
    """What the masked model says at the target position, with only the graph's nodes let through.

    probability: of the first output token (None for a contrast); value: its centred logit, or the contrast; kl: from the
    target's prediction, nats. sd: over draws of the stochastic mask, restarts of the adversary, or random graphs.
    """

    masks: MaskMode
    nodes: int
    random: bool = False
    draws: int = 1
    probability: float | None
    probability_sd: float | None = None
    value: float
    kl: float
    kl_sd: float | None = None


class OptimisedRecord(Record):
    """How the nodes were chosen by optimisation; penalty: λ of Σ g^p divided by the T positions of the prompt."""

    objective: Literal["kl", "ce", "logit"]
    masks: Literal["stochastic and adversarial", "importance"]
    penalty: float
    penalty_per: str = "position (Σ over nodes, divided by T)"
    steps: int
    learning_rate: float
    seed: int
    start_nodes: int
    loss: tuple[float, ...]
    processor_seconds: float


class Scores(Record):
    """By the frozen rule, in [0, 1]. replacement: influence of tokens over tokens and rest, through the graph;
    completeness: influence-weighted share of inputs that is not in the rest. Biases count on neither side."""

    replacement: float
    completeness: float


class Thresholds(Record):
    """circuit-tracer's `node_threshold` and `edge_threshold`: shares of influence that nodes, and edges among them, have."""

    nodes: float = 0.8
    edges: float = 0.98


class Belonging(Record):
    """The parts and the model that a graph is of."""

    origin: str
    parts: str = Field(description="SHA-256 over V and U of the parts")
    decomposition: str | None = Field(
        None,
        description="hash of the decomposition that has them, as of a harvest's origin; None: other parts, or not kept",
    )
    target: str | None = Field(
        None, description="SHA-256 over all the model's weights in fp32; None: not kept"
    )


class GraphRecord(Belonging):
    """`graph.json`."""

    prompt: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    model: str
    weights: dict[str, str]
    node_set: NodeSet
    threshold: float = 0.0
    precision: Precision = "float64"
    outputs: tuple[OutputRecord, ...]
    probability: float | None
    optimised: OptimisedRecord | None = None
    masked: tuple[MaskedRow, ...] = ()
    scores: Scores
    edges_kept: dict[Rule, int]
    processor_seconds: float
    labels: dict[str, str] = Field(default_factory=dict)


class Removal(Record):
    """One node taken out: what the graph said would change at the output, and what did. Of the output's value (a centred
    logit or a contrast). direct: with every other matrix writing what it wrote; full: with the model running on."""

    node: int
    name: str
    predicted_direct: dict[Rule, float]
    predicted_full: dict[Rule, float]
    direct: float
    full: float


class Agreement(Record):
    """Predicted beside measured over removed nodes: Pearson's r, slope of measured on predicted, share of equal signs."""

    rule: Rule
    effect: Literal["direct", "full"]
    nodes: int
    pearson: float
    slope: float
    signs: float


class StabilityRow(Record):
    """The nodes of another fit beside the graph's: of another seed, or of a paraphrase (compared without positions)."""

    what: str
    nodes: int
    shared: int
    jaccard: float


class Verification(Record):
    """`verification.json`: how far a graph is to be trusted (docs/circuits.md has each check).

    identity_*: Σ in = value, frozen rule; linearity: with constants held, the change of every read value under a change of
    one source against its edge, of the largest change; difference: central finite differences against `grad` edges;
    connectivity: site pairs of this prompt that a random prompt lacks or adds; causality: edges from later positions or
    sites; extension: change of what is read where a token is added after the target.
    """

    identity_targets: int
    identity_worst: float
    identity_beyond_rounding: float
    identity_over: int
    linearity: float
    difference: float
    connectivity: int
    causality: int
    extension: float
    scores: Scores
    scores_fewer: Scores
    masked: tuple[MaskedRow, ...]
    dropped_all: MaskedRow
    removals: tuple[Removal, ...]
    agreement: tuple[Agreement, ...]
    stability: tuple[StabilityRow, ...] = ()
    processor_seconds: float

    @property
    def exact(self) -> bool:
        """Whether all that should be exact is."""
        return (
            self.identity_beyond_rounding <= 1e-5
            and self.linearity <= 1e-3
            and self.difference <= 2e-2
            and self.connectivity == 0
            and self.causality == 0
            and self.extension <= 1e-3
        )
