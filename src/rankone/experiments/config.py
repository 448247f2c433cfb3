"""What the job runs: target, text, methods, budgets, seeds and the rates a committed run selected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from rankone.core.artifact import read_json
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.config import FitConfig
from rankone.edits.methods.registry import kind_named, unknown
from rankone.experiments.requests import Measured, Rate
from rankone.models.sources.names import ASSETS, BUILTIN_DECOMPOSITION

# Close about 1, and as far as fits of a clean subcomponent go.
ALPHAS = tuple(map(float, (-24, -20, -16, -12, -10, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4)))


def _known_method(name: str) -> str:
    if why := unknown(name):
        raise ValueError(why)
    return name


MethodName = Annotated[str, AfterValidator(_known_method)]
Budget = Annotated[int, Field(gt=0)]


class JobConfig(Config):
    """One run of the main job: forget a domain, hold another, measure them all."""

    model: str = "mini"
    decomposition: str = BUILTIN_DECOMPOSITION
    reference: str | None = Field(
        default=None,
        description="model trained without the forget domain, or beside the recipe its `measure` file",
    )
    text: str = "builtin"
    forget: str = "de"
    retain: str = "en"
    trained: list[str] = Field(description="domains the ranking and the pick look at")
    evaluated: list[str] = Field(description="domains the results are measured on")
    budgets: dict[MethodName, Annotated[list[Budget], Field(min_length=1)]] = Field(
        min_length=1, description="forget tokens per method"
    )
    seeds: int = Field(default=9, gt=0)
    fit: FitConfig = FitConfig()
    held: list[str] | None = Field(
        default=None,
        description="domains whose text bounds every edit; all trained ones but `forget` unless given",
    )
    tolerance: float = Field(default=0.015, gt=0, description="most KL on a held domain, nats per token")
    rates: dict[str, dict[int, Rate]] = Field(default_factory=dict, description="selected on validation text")
    rates_from: str | None = Field(
        default=None, description="file of `select-rates` beside the recipe, instead of `rates`"
    )
    probe_scale: float = Field(default=-8.0, description="α of the picked one, set without fitting")
    selection_tokens: int = Field(
        default=3000, gt=0, description="training tokens per domain that are harvested"
    )
    candidates: int = Field(default=10, gt=0, description="labelled parts that are measured for the pick")
    pick_tokens: int = Field(
        default=300, gt=0, description="validation tokens of `forget` they are measured on"
    )
    retain_tokens: int = Field(default=6000, gt=0, description="training tokens of all held domains")
    retain_length: int = Field(default=65, gt=1, description="row length of retain text, BOS included")
    test_tokens: int = Field(default=2000, gt=0, description="test tokens per domain")
    alphas: list[float] = Field(default_factory=lambda: list(ALPHAS), min_length=1)
    harvest: str | None = Field(
        default=None,
        description="harvest to pick by, in place of a small one made on training text; needs `labels`",
    )
    labels: str | None = Field(default=None, description="labels of `harvest`, in place of statistical ones")
    sae: str | None = Field(default=None, description="folder of a sparse coder, for the methods sae_*")
    prompts: dict[str, list[str]] = Field(default_factory=dict, description="rollout prompts by domain")

    @model_validator(mode="after")
    def _harvest_and_labels(self) -> JobConfig:
        if (self.harvest is None) != (self.labels is None):
            raise ValueError("harvest and labels belong together: give both, or neither")
        return self

    @model_validator(mode="after")
    def _two_domains_looked_at(self) -> JobConfig:
        if self.forget == self.retain:
            raise ValueError(f"forget and retain are both '{self.forget}': name another domain to hold")
        for key in ("trained", "evaluated"):
            lacking = {self.forget, self.retain} - set(getattr(self, key))
            if lacking:
                raise ValueError(f"{key} lacks {', '.join(sorted(lacking))}: it must name forget and retain")
        return self

    @model_validator(mode="after")
    def _no_run_twice(self) -> JobConfig:
        for method, budgets in self.budgets.items():
            if len(set(budgets)) < len(budgets):
                raise ValueError(f"budgets of {method} name one twice: {budgets}")
        return self

    def aim(self, chance: float, cap: float = 1.0) -> Aim:
        """What its fits are for, on a model with this chance (ln V)."""
        held = self.held or [domain for domain in self.trained if domain != self.forget]
        values = {"forget": self.forget, "retain": tuple(held), "chance": chance, "cap": cap}
        return Aim.checked({**values, "tolerance": self.tolerance}, "aim")

    def judged(self, chance: float) -> Aim:
        """What its results are judged by: the one domain `retain` has to stay, whatever else was held in the fits."""
        return Aim(forget=self.forget, retain=(self.retain,), chance=chance, tolerance=self.tolerance)

    def rate(self, method: str, budget: int) -> Rate:
        """The selected rate at this budget, or at the nearest one below (else the nearest above)."""
        known = self.rates.get(method, {})
        if not known:
            return Rate(learning_rate=kind_named(method).learning_rates[0], retain_weight=1.0, margin=1.1)
        below = [b for b in known if b <= budget]
        return known[max(below) if below else min(known)]

    def on_domains(self, available: list[str]) -> JobConfig:
        """The same job without the off-target domains, and prompts, that a corpus has no text for."""
        needed = {self.forget, self.retain}
        kept = {
            key: [d for d in getattr(self, key) if d in available or d in needed]
            for key in ("trained", "evaluated")
        }
        return self.model_copy(update=kept)


def read_job(
    recipe: Path | None,
    text: str | None = None,
    rates: bool = True,
    harvest: Path | None = None,
    labels: Path | None = None,
) -> JobConfig:
    """A job's configuration from its recipe (the demo's where none is named), on other text and with a harvest if these are
    named; `rates`: whether with those that the recipe names.

    Paths that are given are from here, those in a recipe from the recipe.
    """
    path = recipe or ASSETS / "demo.yaml"
    selection = {"harvest": harvest and str(harvest.resolve()), "labels": labels and str(labels.resolve())}
    values = {
        **JobConfig.yaml_values(path),
        **{k: v for k, v in {"text": text, **selection}.items() if v is not None},
    }
    config = JobConfig.checked(values, "demo" if recipe is None else str(path))
    return resolved(config if rates else config.model_copy(update={"rates_from": None}), path.parent)


def resolved(config: JobConfig, folder: Path) -> JobConfig:
    """The configuration with the files it names beside its recipe: rates filled in, paths made full."""
    update: dict[str, object] = {}
    if config.rates_from is not None:
        update |= {
            "rates": _json(folder / config.rates_from, "select-rates").get("rates"),
            "rates_from": None,
        }
    if config.reference is not None and config.reference.endswith(".json"):
        update["reference"] = str(folder / config.reference)
    update |= {
        key: str(folder / value)
        for key in ("harvest", "labels")
        if (value := getattr(config, key)) is not None
    }
    return JobConfig.checked({**config.model_dump(), **update}, str(folder))


def read_measured(path: Path) -> Measured:
    """Read a file of `rankone measure`."""
    return Measured.checked(dict(_json(path, "measure")), str(path))


def _json(path: Path, verb: str) -> Mapping[str, object]:
    if not path.is_file():
        raise RankOneError(f"no file '{path}': make it with `rankone {verb} … --out {path}`.")
    return read_json(path)
