"""What graphs are asked for; nothing here needs PyTorch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rankone.circuits.records import NodeSet, Precision
from rankone.core.config import Config
from rankone.core.fields import Names, PartNames, Seed

# Sets of nodes that need causal importances.
BY_IMPORTANCE: tuple[NodeSet, ...] = ("natural", "optimised", "ci")


class OptimiseConfig(Config):
    """How importances are fitted to a prompt."""

    objective: Literal["kl", "ce", "logit"] = Field(
        "kl", description="what masks are fitted to: the whole prediction, a token, or the target's logits"
    )
    penalty: float = Field(0.1, gt=0, description="λ, the price of a node: higher gives fewer")
    steps: int = Field(100, gt=0, description="steps of the fit")
    learning_rate: float = Field(0.1, gt=0, description="rate of the fit")
    seed: Seed = Field(0, description="of random masks, adversarial starts and random graphs")


class GraphConfig(OptimiseConfig):
    """Which nodes a graph has, and what it explains."""

    target: str | None = Field(
        None, description='token, or sum of logits as \'" her"-" his"\'; default the likeliest tokens'
    )
    nodes: NodeSet = Field(
        "natural",
        description="natural (importance above the threshold), optimised (fitted to the prompt under random and "
        "adversarial masks), ci (fitted with importances alone), strongest, named, all",
    )
    threshold: float = Field(0.0, ge=0, lt=1, description="natural: importance above which a part is a node")
    per_site: int = Field(8, gt=0, description="strongest: parts of each site at each position")
    names: Annotated[Names, PartNames()] = Field((), description="named: the parts that are nodes")
    precision: Precision = Field(
        "float64", description="numbers that edges are added up in; float32 takes half the memory"
    )
    random_graphs: int = Field(10, ge=0, description="random graphs of the same counts to compare with")
    removed: int = Field(40, ge=2, description="nodes whose removal is measured and compared with the graph")

    def fitting(self) -> OptimiseConfig:
        """The part that is about fitting importances."""
        return OptimiseConfig.checked(self.model_dump(include=set(OptimiseConfig.model_fields)), "graph")
