"""What is compared: target, text, methods, retain sets, budgets, seeds, weights, and how results are measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, field_validator, model_validator

from rankone.core.artifact import read_json
from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest
from rankone.core.paths import typed
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.config import FitConfig
from rankone.edits.methods.registry import kind_named, unknown
from rankone.experiments.requests import Measured, Rate
from rankone.models.sources.known import BUILTIN_MODELS
from rankone.models.sources.names import BUILTIN_DECOMPOSITION
from rankone.recipes import shipped, ships
from rankone.text.opening import in_full

# Close about 1, and as far as fits of a clean subcomponent go.
ALPHAS = tuple(map(float, (-24, -20, -16, -12, -10, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4)))


def _known_method(name: str) -> str:
    if why := unknown(name):
        raise ValueError(why)
    return name


MethodName = Annotated[str, AfterValidator(_known_method)]
Budgets = Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)]
Weight = Annotated[float, Field(ge=0)]
Sized = bool | Literal["only"]


class BenchConfig(Config):
    """One benchmark. Every method runs at its budgets, at every seed and weight λ, under every retain set.

    Learning rates are chosen per method, retain set and budget on validation text, at the weight `tuning_weight`; every
    method has as many seeds there. Those in `rates` were chosen before. Nothing is chosen on test text.
    """

    model: str = "mini"
    decomposition: str = BUILTIN_DECOMPOSITION
    text: str = "builtin"
    forget: str = "de"
    judged: str = Field(default="en", description="domain whose rise must stay under .1 nats")
    trained: tuple[str, ...] = Field(min_length=2, description="domains the ranking and the pick look at")
    evaluated: tuple[str, ...] = Field(min_length=2, description="domains the results are measured on")
    retain: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        min_length=1, description="retain sets by name: the domains whose KL each fit holds"
    )
    methods: Annotated[tuple[MethodName, ...], Field(min_length=1)]
    budgets: Budgets | dict[MethodName, Budgets] = Field(
        default=(2, 4, 8, 16, 32, 64, 128, 512, 2048),
        description="forget tokens: of all methods, or by method",
    )
    seeds: int = Field(default=9, gt=0)
    weights: Annotated[tuple[Weight, ...], Field(min_length=1)] = (0.1, 1.0, 10.0, 100.0)
    tuning_seeds: int = Field(
        default=2, gt=0, description="seeds per rate that is tried, apart from the grid's"
    )
    tuning_weight: float = Field(default=1.0, ge=0, description="λ at which rates are chosen")
    rates: dict[MethodName, dict[int, Rate]] = Field(
        default_factory=dict, description="by method and budget, chosen before: with its λ and cap"
    )
    rates_from: str | None = Field(
        default=None, min_length=1, description="file of `select-rates` beside the recipe, instead of `rates`"
    )
    fit: FitConfig = FitConfig(steps=3000, patience=300, target="sampled")
    one_start: bool = Field(
        default=False,
        description="fit every run once, as published: scales from α = 1, all else from the first start of its method",
    )
    sized: Sized = Field(
        default=True,
        description="also bring every fit to the size of the rule for all methods; only: nothing else is looked at, "
        "and of a method's starts that is kept which removes most at its size",
    )
    matched: bool = Field(
        default=False,
        description="also bring every fit to the size that validation text scores best: at chance, with least damage",
    )
    tolerance: float = Field(default=0.015, gt=0, description="most KL on a retained domain at that size")
    cap: float = Field(default=1.0, gt=0, description="forget cross-entropy to reach, in units of chance")
    harvest: str | None = Field(
        default=None,
        description="harvest to pick by, in place of a small one made on training text; needs `labels`",
    )
    labels: str | None = Field(default=None, description="labels of `harvest`, in place of statistical ones")
    selection_tokens: int = Field(
        default=3000, gt=0, description="training tokens per domain that are harvested"
    )
    candidates: int = Field(default=10, gt=0, description="labelled parts that are measured for the pick")
    pick_tokens: int = Field(
        default=300, gt=0, description="validation tokens of `forget` they are measured on"
    )
    retain_tokens: int = Field(default=6000, gt=0, description="training tokens of all retained domains")
    retain_length: int = Field(default=65, gt=1, description="row length of retain text, BOS included")
    validation_tokens: int = Field(
        default=700, gt=0, description="per domain, for choosing rates, λ and sizes"
    )
    test_tokens: int = Field(default=2000, gt=0, description="test tokens per domain")
    sae: str | None = Field(default=None, description="folder of a sparse coder, for the methods sae_*")
    stack: int = Field(default=36, gt=0, description="fits in one forward; results do not depend on it")
    prompts: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="rollout prompts by domain")

    @field_validator("retain", mode="before")
    @classmethod
    def _sets_by_name(cls, retain: object) -> object:
        if isinstance(retain, str | list):
            raise ValueError(
                "retain holds named sets, as {held: [en, fr]}; the one domain that results are judged by is `judged`"
            )
        return retain

    @model_validator(mode="after")
    def _two_sides(self) -> BenchConfig:
        if self.forget == self.judged:
            raise ValueError(f"forget and judged are both '{self.forget}': name another domain to judge by")
        for key in ("trained", "evaluated"):
            lacking = {self.forget, self.judged} - set(getattr(self, key))
            if lacking:
                raise ValueError(f"{key} lacks {', '.join(sorted(lacking))}: it must name forget and judged")
        for name, domains in self.retain.items():
            if self.forget in domains:
                raise ValueError(f"the retain set '{name}' holds '{self.forget}', which is to be forgotten")
            strange = sorted(set(domains) - set(self.trained))
            if strange:
                raise ValueError(f"the retain set '{name}' names '{strange[0]}', which `trained` lacks")
        if (self.harvest is None) != (self.labels is None):
            raise ValueError("harvest and labels belong together: give both, or neither")
        if self.matched and self.sized == "only":
            raise ValueError("`sized: only` looks at one size alone: leave it or `matched` out")
        if self.one_start and self.sized == "only":
            raise ValueError(
                "one_start begins where a scale has no sign yet, which `sized: only` wants: leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _no_run_twice(self) -> BenchConfig:
        by_method = self.budgets if isinstance(self.budgets, dict) else {"": self.budgets}
        if isinstance(self.budgets, dict) and (lacking := [m for m in self.methods if m not in by_method]):
            raise ValueError(f"budgets names no budget of the method '{lacking[0]}'")
        listed = {f"budgets {method}".strip(): budgets for method, budgets in by_method.items()}
        for key, values in {"methods": self.methods, "weights": self.weights, **listed}.items():
            if len(set(values)) < len(values):
                raise ValueError(f"{key} names one twice: {', '.join(map(str, values))}")
        return self

    def on_domains(self, available: Sequence[str]) -> BenchConfig:
        """The same without the domains that a text lacks; RankOneError where nothing is left to forget, judge or hold."""

        def kept(domains: Iterable[str]) -> list[str]:
            return [domain for domain in domains if domain in available]

        retain = {name: kept(domains) for name, domains in self.retain.items()}
        changes = {"trained": kept(self.trained), "evaluated": kept(self.evaluated), "retain": retain}
        return type(self).checked({**self.model_dump(), **changes}, f"the text has {', '.join(available)}")

    def aim(self, chance: float, retain: str) -> Aim:
        """What fits under a retain set are for, on a model with this chance (ln V)."""
        values = {"forget": self.forget, "retain": self.retain[retain], "chance": chance}
        return Aim.checked({**values, "tolerance": self.tolerance}, "aim")

    def judged_by(self, chance: float) -> Aim:
        """What results are judged by: the one domain that has to stay, whatever else was held in the fits."""
        return Aim(forget=self.forget, retain=(self.judged,), chance=chance, tolerance=self.tolerance)

    def budgets_of(self, method: str) -> tuple[int, ...]:
        """Forget tokens that a method runs at."""
        return self.budgets[method] if isinstance(self.budgets, dict) else self.budgets

    def known(self, method: str, budget: int) -> Rate | None:
        """The rate chosen before for this budget, or for the nearest one below (else the nearest above)."""
        known = self.rates.get(method)
        if not known:
            return None
        below = [b for b in known if b <= budget]
        return known[max(below) if below else min(known)]

    def rate(self, method: str, budget: int) -> Rate:
        """What a method runs with where nothing is tried: the rate chosen before, or its first one."""
        first, weight = kind_named(method).learning_rates[0], self.weight(method, budget)
        usual = Rate(learning_rate=first, retain_weight=weight, margin=self.cap)
        return self.known(method, budget) or usual

    def learning_rates(self, method: str) -> tuple[float, ...]:
        """Learning rates that are tried of a method: none where they were chosen before."""
        return () if self.rates.get(method) else kind_named(method).learning_rates

    def weights_of(self, method: str, budget: int) -> tuple[float, ...]:
        """The weights λ a method runs at: none but 0 for one without a retain term, one for what is not fitted."""
        kind, rate = kind_named(method), self.known(method, budget)
        if rate is not None:
            return (rate.retain_weight,)
        if not kind.trained:
            return self.weights[:1]
        return (0.0,) if kind.retain_weights == (0.0,) else self.weights

    def weight(self, method: str, budget: int) -> float:
        """Of its weights the one that rates are chosen at: the nearest to `tuning_weight`."""
        return min(self.weights_of(method, budget), key=lambda w: (abs(w - self.tuning_weight), w))

    @property
    def first_stage(self) -> Literal["fitted", "sized"]:
        """What verdicts are of: fits as they came, or in their size where nothing else is looked at."""
        return "sized" if self.sized == "only" else "fitted"

    @property
    def pick_retain(self) -> str:
        """The retain set that the pick is measured under: the one that holds most."""
        return max(self.retain, key=lambda name: len(self.retain[name]))


class DemoConfig(BenchConfig):
    """A benchmark with one retain set that becomes a report: beside its runs, edits that saw no token of `forget`."""

    sized: Sized = "only"
    weights: Annotated[tuple[Weight, ...], Field(min_length=1)] = (1.0,)
    reference: str | None = Field(
        default=None,
        description="model trained without the forget domain, or beside the recipe its `measure` file",
    )
    probe_scale: float = Field(default=-8.0, description="α of the picked one, set without fitting")
    alphas: list[float] = Field(default_factory=lambda: list(ALPHAS), min_length=1)

    @model_validator(mode="after")
    def _of_one_report(self) -> DemoConfig:
        if len(self.retain) > 1:
            raise ValueError(f"a report has one retain set, and these are {', '.join(self.retain)}")
        if self.sized != "only":
            raise ValueError("a report looks at fits in their size alone: leave `sized` out")
        if len(self.weights) > 1:
            raise ValueError("a report has one weight λ: several would be chosen from on the text it reports")
        return self


C = TypeVar("C", bound=BenchConfig)


def read_recipe(
    path: Path,
    preset: str | None = None,
    kind: type[C] = BenchConfig,
    where: str = "",
    without: Sequence[str] = (),
    **overrides: object,
) -> C:
    """A benchmark from its recipe; `presets:` there name changes of its values. Overrides that are not None come last.

    Paths in a recipe are from there (of model, decomposition and text where something lies there, else as on the command
    line), those that override it from here; in a recipe that ships only files that ship too are from there. where: what an
    error names, else the recipe. without: keys of the recipe that do not count.
    """
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
    for key in without:
        values.pop(key, None)
    given = {key: value for key, value in overrides.items() if value is not None}
    config = kind.checked(values | given, where or str(path))
    return _resolved(config, path, tuple(given))


def read_demo(
    recipe: Path | None,
    text: str | None = None,
    rates: bool = True,
    harvest: Path | None = None,
    labels: Path | None = None,
) -> DemoConfig:
    """The demo's configuration from its recipe (its own where none is named), on other text and with a harvest if these are
    named; `rates`: whether with those that the recipe names.
    """
    selection = {"harvest": harvest and str(harvest.resolve()), "labels": labels and str(labels.resolve())}
    without = () if rates else ("rates", "rates_from")
    where = "demo" if recipe is None else ""
    path = recipe or shipped()["demo"]
    return read_recipe(path, None, DemoConfig, where, without, text=text, **selection)


def _resolved(config: C, recipe: Path, given: Sequence[str]) -> C:
    """The configuration with what lies beside its recipe: rates read, paths in full, so that its record holds anywhere.

    given: keys that are none of the recipe's; they are from here.
    """
    # What a user made lies beside a recipe of his own, but not beside one that ships: the command line's folder is meant.
    beside, home = recipe.parent, Path() if ships(recipe) else recipe.parent
    update: dict[str, object] = {}
    if config.rates_from is not None:
        update = {"rates": _rates(beside / config.rates_from), "rates_from": None}
    if (reference := getattr(config, "reference", None)) is not None and reference.endswith(".json"):
        update["reference"] = str((beside / reference).resolve())
    for key in ("harvest", "labels", "sae"):
        if (value := getattr(config, key)) is not None:
            update[key] = str((home / value).resolve())
    for key in ("model", "decomposition", "text", "reference"):
        name: str | None = getattr(config, key, None)
        if name is not None and key not in update:
            path_of = partial(_path_of, [Path()] if key in given else [home, Path()])
            update[key] = in_full(name, path_of) if key == "text" else str(path_of(name) or name)
    return type(config).checked({**config.model_dump(), **update}, str(recipe))


def _path_of(folders: Sequence[Path], name: str) -> Path | None:
    """The path in full of what lies under that name in the first of some folders; None for what is built in or is a name."""
    if not name or name in (*BUILTIN_MODELS, BUILTIN_DECOMPOSITION):
        return None
    paths = (folder / Path(name).expanduser() for folder in folders)
    return next((path.resolve() for path in paths if path.exists()), None)


class _Rates(Config):
    """Of a file of `select-rates` what a recipe takes."""

    rates: dict[MethodName, dict[int, Rate]]


def _rates(path: Path) -> dict[str, dict[int, Rate]]:
    """The rates of a file of `select-rates`."""
    if path.is_dir():
        raise RankOneError(
            f"'{path}' is a folder: rates_from of a recipe wants a file of `rankone select-rates --out`."
        )
    held = _json(path, "select-rates").get("rates")
    rates = _Rates.checked({"rates": held}, str(path)).rates if held else {}
    if not rates or not all(rates.values()):
        lacking = next((f" of {method}" for method, by_budget in rates.items() if not by_budget), "")
        raise RankOneError(
            f"'{path}' holds no rates{lacking}: rates_from of a recipe wants a file of `rankone select-rates --out`."
        )
    return rates


def read_measured(path: Path) -> Measured:
    """Read a file of `rankone measure`."""
    return Measured.checked(dict(_json(path, "measure")), str(path))


def _json(path: Path, verb: str) -> Mapping[str, object]:
    if not path.is_file():
        raise RankOneError(f"no file '{path}': make it with `rankone {verb} … --out {typed(path)}`.")
    return read_json(path)
