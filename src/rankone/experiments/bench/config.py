"""What a benchmark runs: target, text, methods, retain sets, budgets, seeds, weights, and how results are measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest
from rankone.edits.fitting.config import FitConfig
from rankone.edits.methods.registry import kinds
from rankone.experiments.config import Budget, JobConfig, MethodName

Weight = Annotated[float, Field(ge=0)]


class BenchConfig(Config):
    """One benchmark. Every method runs at every budget, seed and weight λ, under every retain set.

    Learning rates are chosen per method, retain set and budget on validation text, at the weight `tuning_weight`; every
    method has as many seeds there. Nothing is chosen on test text.
    """

    model: str = "mini"
    decomposition: str = "mini-decomposition"
    text: str = "builtin"
    forget: str = "de"
    judged: str = Field(default="en", description="domain whose rise must stay under .1 nats")
    trained: tuple[str, ...] = Field(min_length=2, description="domains the ranking and the pick look at")
    evaluated: tuple[str, ...] = Field(min_length=2, description="domains the results are measured on")
    retain: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        min_length=1, description="retain sets by name: the domains whose KL each fit holds"
    )
    methods: Annotated[tuple[MethodName, ...], Field(min_length=1)]
    budgets: Annotated[tuple[Budget, ...], Field(min_length=1)] = (2, 4, 8, 16, 32, 64, 128, 512, 2048)
    seeds: int = Field(default=9, gt=0)
    weights: Annotated[tuple[Weight, ...], Field(min_length=1)] = (0.1, 1.0, 10.0, 100.0)
    tuning_seeds: int = Field(
        default=2, gt=0, description="seeds per rate that is tried, apart from the grid's"
    )
    tuning_weight: float = Field(default=1.0, ge=0, description="λ at which rates are chosen")
    fit: FitConfig = FitConfig(steps=3000, patience=300, target="sampled")
    sized: bool = Field(
        default=True, description="also bring every fit to the size of the rule for all methods"
    )
    tolerance: float = Field(default=0.015, gt=0, description="most KL on a retained domain at that size")
    cap: float = Field(
        default=1.0, gt=0, description="forget cross-entropy that is enough, in units of chance"
    )
    selection_tokens: int = Field(
        default=3000, gt=0, description="training tokens per domain that are harvested"
    )
    candidates: int = Field(default=10, gt=0, description="labelled parts that are measured for the pick")
    pick_tokens: int = Field(
        default=300, gt=0, description="validation tokens of `forget` they are measured on"
    )
    retain_tokens: int = Field(default=6000, gt=0, description="training tokens of all retained domains")
    retain_length: int = Field(default=65, gt=1, description="row length of retain text, BOS included")
    validation_tokens: int = Field(default=700, gt=0, description="per domain, for choosing rates and λ")
    test_tokens: int = Field(default=2000, gt=0, description="test tokens per domain")
    sae: str | None = Field(default=None, description="folder of a sparse coder, for the methods sae_*")
    stack: int = Field(default=36, gt=0, description="fits in one forward; results do not depend on it")
    prompts: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="rollout prompts by domain")

    @model_validator(mode="after")
    def _two_sides(self) -> BenchConfig:
        for name, domains in self.retain.items():
            if self.forget in domains:
                raise ValueError(f"the retain set '{name}' holds '{self.forget}', which is to be forgotten")
            strange = sorted(set(domains) - set(self.trained))
            if strange:
                raise ValueError(f"the retain set '{name}' names '{strange[0]}', which `trained` lacks")
        lacking = {self.forget, self.judged} - set(self.evaluated)
        if lacking:
            raise ValueError(f"evaluated lacks {', '.join(sorted(lacking))}: it must name forget and judged")
        for key in ("methods", "budgets", "weights"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key} names one twice: {', '.join(map(str, values))}")
        return self

    def on_domains(self, available: Sequence[str]) -> BenchConfig:
        """The same without the domains that a text lacks; RankOneError where nothing is left to forget, judge or hold."""

        def kept(domains: Iterable[str]) -> list[str]:
            return [domain for domain in domains if domain in available]

        retain = {name: kept(domains) for name, domains in self.retain.items()}
        changes = {"trained": kept(self.trained), "evaluated": kept(self.evaluated), "retain": retain}
        return BenchConfig.checked({**self.model_dump(), **changes}, f"the text has {', '.join(available)}")

    def job(self, retain: str) -> JobConfig:
        """The job of one retain set: what the demo's pieces are asked."""
        return JobConfig(
            model=self.model,
            decomposition=self.decomposition,
            text=self.text,
            forget=self.forget,
            retain=self.judged,
            trained=list(self.trained),
            evaluated=list(self.evaluated),
            budgets={method: list(self.budgets) for method in self.methods},
            seeds=self.seeds,
            fit=self.fit,
            held=list(self.retain[retain]),
            tolerance=self.tolerance,
            selection_tokens=self.selection_tokens,
            candidates=self.candidates,
            pick_tokens=self.pick_tokens,
            retain_tokens=self.retain_tokens,
            retain_length=self.retain_length,
            test_tokens=self.test_tokens,
            sae=self.sae,
        )

    def rates(self, method: str) -> tuple[float, ...]:
        """Learning rates that are tried of a method."""
        return kinds()[method].learning_rates

    def weights_of(self, method: str) -> tuple[float, ...]:
        """The weights λ a method runs at: none but 0 for one without a retain term, one for what is not fitted."""
        kind = kinds()[method]
        if not kind.trained:
            return self.weights[:1]
        return (0.0,) if kind.retain_weights == (0.0,) else self.weights

    @property
    def pick_retain(self) -> str:
        """The retain set that the pick is measured under: the one that holds most."""
        return max(self.retain, key=lambda name: len(self.retain[name]))


def read_recipe(path: Path, preset: str | None = None, **overrides: object) -> BenchConfig:
    """A benchmark from its recipe; `presets:` there name changes of its values. Overrides that are not None come last."""
    values = dict(Config.yaml_values(path))
    presets = values.pop("presets", {})
    if not isinstance(presets, Mapping):
        raise RankOneError(f"{path}: presets must name sets of values, not {presets!r}.")
    if preset is not None:
        if preset not in presets:
            offered = ", ".join(map(str, presets)) or "none"
            raise RankOneError(
                f"{path} has no preset '{preset}'; it has {offered}.{nearest(preset, list(presets))}"
            )
        changes = presets[preset]
        if not isinstance(changes, Mapping):
            raise RankOneError(f"{path}: the preset '{preset}' holds no `key: value` pairs.")
        values.update(changes)
    values.update({key: value for key, value in overrides.items() if value is not None})
    return BenchConfig.checked(values, str(path))
