"""What the verbs of graphs are asked; importable without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from rankone.circuits.asking.places import Place
from rankone.circuits.config import GraphConfig
from rankone.circuits.records import NodeSet, Rule, Thresholds
from rankone.core.errors import RankOneError
from rankone.core.fields import Names, OnlyWith, Positional, Reads, Request, ScalesByName, Seed, option

# Fields that some sets of nodes alone make use of.
_USED_BY: dict[str, tuple[NodeSet, ...]] = {
    **dict.fromkeys(("penalty", "steps", "learning_rate"), ("optimised", "ci")),
    "threshold": ("natural",),
    "per_site": ("strongest",),
}


class GraphRequest(GraphConfig, Request):
    """A prompt, and what its graph is to show."""

    prompt: Annotated[str, Positional()] = Field(
        min_length=1, description="text whose last position is explained"
    )
    source: str | None = Field(
        None,
        description="parts of another origin: neuron, channel, singular, random, or that of saved --parts",
    )
    rule: Rule = Field(
        "frozen", description="edges shown: frozen (they sum to the value) or grad (local effects)"
    )
    top: int = Field(12, gt=0, description="nodes to show")
    unverified: bool = Field(False, description="leave the checks out; the graph is then shown as unverified")
    seeds: int = Field(0, ge=0, description="more seeds of a fit, whose nodes are compared")
    paraphrase: str | None = Field(None, description="another way to say it, whose nodes are compared")
    out: Path | None = Field(None, description="save the graph here; must not exist")

    @model_validator(mode="after")
    def _asked_well(self) -> Self:
        """Names only where nodes are named, seeds only where something is fitted."""
        if self.nodes == "named" and not self.names:
            raise ValueError("--nodes named needs the names: give --names PART,PART,…")
        if self.names and self.nodes != "named":
            raise ValueError("--names are for --nodes named")
        if self.seeds and self.nodes not in ("optimised", "ci"):
            raise ValueError(f"--seeds compares fits, and --nodes {self.nodes} fits nothing")
        for name, sets in _USED_BY.items():
            if self.nodes not in sets and self.changed(name):
                raise ValueError(f"{option(name)} is for --nodes {' or '.join(sets)}, not {self.nodes}")
        unused = self.changed("removed", "seeds", "paraphrase")
        if self.unverified and unused:
            raise ValueError(f"{unused[0]} is about a check, and --unverified leaves the checks out")
        return self


class GraphVerifyRequest(Request):
    """A saved graph to check."""

    graph: Annotated[Path, Positional(), Reads("graph")] = Field(description="saved graph")
    removed: int = Field(40, ge=2, description="nodes whose removal is measured and compared with the graph")
    seed: Seed = Field(0, description="of the nodes that are drawn")


class GraphInterveneRequest(Request):
    """What is kept, dropped or scaled. A place is PART@POSITION, PART (where the graph has it) or PART@all (the weight)."""

    graph: Annotated[Path, Positional(), Reads("graph")] = Field(description="saved graph")
    keep: Names = Field(
        (), description="places that stay on while all others are masked; `all` is the whole graph"
    )
    drop: Names = Field((), description="places taken out of the model: PART@POSITION, PART or PART@all")
    scale: ScalesByName = Field({}, description="places multiplied by a factor, as PART@3=-2")
    prompt: str | None = Field(None, description="other text with the same number of tokens to do it on")
    continue_: int = Field(0, ge=0, description="tokens to continue with, before and after")
    seed: Annotated[Seed, OnlyWith("keep")] = Field(
        0, description="with --keep: of random masks and adversarial starts"
    )

    @field_validator("keep", "drop")
    @classmethod
    def _places(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "all" in names and (len(names) > 1 or info.field_name != "keep"):
            raise ValueError(
                "'all' is the whole graph: --keep all, and no other place beside it"
                if info.field_name == "keep"
                else "'all' is for --keep. What the model says without any of the nodes stands in the table of graph-verify"
            )
        for name in names:
            if name != "all":
                Place.of(name)
        return names

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        """Sufficiency or necessity, never in one number."""
        for name in self.scale:
            Place.of(name)
        if not self.keep and not self.drop and not self.scale:
            raise ValueError("nothing to do: give --keep all, --drop PLACE or --scale PLACE=FACTOR")
        if self.keep and (self.drop or self.scale):
            raise ValueError(
                "--keep asks whether nodes suffice, --drop and --scale whether they are needed: one at a time"
            )
        both = [name for name in self.drop if name in self.scale]
        if both:
            raise ValueError(f"'{both[0]}' is dropped and scaled")
        if self.keep and (self.prompt is not None or self.continue_):
            raise ValueError(
                "--keep is measured at the graph's own prompt: leave --prompt and --continue out"
            )
        return self


class GraphExportRequest(Request):
    """A saved graph, and what it is written as."""

    graph: Annotated[Path, Positional(), Reads("graph")] = Field(description="saved graph")
    viewer: Path | None = Field(None, description="folder for circuit-tracer's viewer; must not exist")
    neuronpedia: Path | None = Field(None, description="JSON file in Neuronpedia's format; must not exist")
    page: Path | None = Field(None, description="a page that needs no server; must not exist")
    rule: Rule = Field("frozen", description="edges: frozen (they sum to the value) or grad (local effects)")
    nodes: int = Field(120, gt=0, description="subcomponents shown, those of most influence")
    edges: int = Field(6000, gt=0, description="most edges written")
    node_threshold: float | None = Field(
        None,
        gt=0,
        le=1,
        description="in place of --nodes: share of all influence, circuit-tracer's (.8 there)",
    )
    edge_threshold: float | None = Field(
        None,
        gt=0,
        le=1,
        description="in place of --edges: share of their influence, circuit-tracer's (.98 there)",
    )
    scan: str | None = Field(None, description="neuronpedia: id of the model there; default its name here")
    features: str | None = Field(None, description="neuronpedia: https address that serves the feature files")

    @property
    def thresholds(self) -> Thresholds | None:
        """Shares to prune to, where one was given; the other is then circuit-tracer's."""
        given = {"nodes": self.node_threshold, "edges": self.edge_threshold}
        named = {name: share for name, share in given.items() if share is not None}
        return Thresholds(**named) if named else None

    @property
    def groups(self) -> bool:
        """Whether it is written as what groups nodes by component."""
        return self.viewer is not None or self.neuronpedia is not None

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        """At least one format, options of a format only with it, counts or shares."""
        counted = self.changed("nodes", "edges")
        if counted and self.thresholds is not None:
            raise ValueError(
                f"{counted[0]} counts, --node-threshold and --edge-threshold are shares of influence: give one "
                "kind"
            )
        if self.viewer is None and self.neuronpedia is None and self.page is None:
            raise ValueError("nothing to write: give --viewer DIR, --neuronpedia FILE or --page FILE")
        if self.neuronpedia is None and (self.scan is not None or self.features is not None):
            raise ValueError("--scan and --features are for --neuronpedia")
        if self.features is not None and not self.features.startswith("https://"):
            raise RankOneError(f"--features '{self.features}' must begin with https://.")
        return self
