"""Verbs that measure: measure, picks, investigate, select-rates, demo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rankone.core.errors import RankOneError
from rankone.core.fields import Counted, ModelName, Positional, Reads, Request, TextName
from rankone.experiments.requests import Measured, MeasureRequest, PicksRequest, Rate, StudyRequest
from rankone.models.sources.known import BUILTIN_MODELS, FETCHABLE
from rankone.opening import Opening
from rankone.recipes import Recipe, shipped
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.verbs.preflight import require_job
from rankone.verbs.verb import Verb

if TYPE_CHECKING:
    from rankone.experiments.config import DemoConfig
    from rankone.experiments.real_model.config import RealModelConfig


def measure(opening: Opening, request: MeasureRequest) -> Measured:
    """Cross-entropy of a model on every domain of some text; with --edit before and after a saved edit."""
    from rankone.experiments.measuring import measure_model

    return measure_model(opening.options.model, opening.bare, request)


class PickRow(Reply):
    """One target: the pick, its trade-off (rise of the target, worst other rise, at α), its place, and the best."""

    label: str
    target: str
    pick: str
    alpha: float
    rise: float
    worst: float
    place: int
    best: str
    best_rise: float


class PicksReply(Reply):
    """How often the pick is the best of its candidates.

    tables: one row per target.
    """

    rows: tuple[PickRow, ...]


def picks(opening: Opening, request: PicksRequest) -> PicksReply:
    """How often is the pick by label and specificity the best of its candidates? Measured on validation text."""
    from rankone.experiments.picks import compare_picks, picks_table, write_picks

    store, labels = opening.require_harvest("picks"), opening.require_labels("picks")
    store.require_origin(opening.decomposition, opening.model)
    compared = compare_picks(opening.workspace, store, labels, request)
    if request.out is not None:
        write_picks(request.out, compared, request)
    rows = [
        PickRow(
            label=pick.label,
            target=pick.target,
            pick=pick.pick,
            alpha=pick.picked.alpha,
            rise=pick.picked.rise,
            worst=pick.picked.worst,
            place=pick.place,
            best=pick.candidates[0].part,
            best_rise=pick.candidates[0].rise,
        )
        for pick in compared
    ]
    return PicksReply(rows=tuple(rows)).showing(picks_table(compared, request))


class InvestigateRequest(StudyRequest):
    """A part to turn, and how far."""

    part: Annotated[str, Positional(), Counted()] = Field(
        description="SITE:NUMBER, or cNUMBER in a harvest of components"
    )
    sources: int = Field(
        0, ge=0, description="validation tokens per domain on which its sources are summed; 0: none"
    )
    html: Path | None = Field(None, description="also write a page to this file; must not exist")


class FindingRow(Reply):
    """One domain: cross-entropy, measured and predicted rise at every scale, nats per token."""

    domain: str
    ce: float
    rises: dict[float, float]
    predicted: dict[float, float]


class InvestigateReply(Reply):
    """Which other text suffers, and why."""

    part: str
    summary: tuple[str, ...]
    findings: tuple[FindingRow, ...]
    html: Path | None = None

    def lines(self) -> Sequence[str]:
        """Where the page is."""
        return () if self.html is None else (f"page: {self.html}",)


def investigate(opening: Opening, request: InvestigateRequest) -> InvestigateReply:
    """Which other text suffers when a part (or component) is turned, and why? Measured on held-out text."""
    from rankone.experiments.investigation.study import investigate as study
    from rankone.experiments.investigation.terminal import investigation as shown
    from rankone.experiments.investigation.web import write_investigation
    from rankone.experiments.investigation.words import summary
    from rankone.verbs.circuits.around import around

    store = opening.require_harvest("an investigation")
    store.require_origin(opening.decomposition, opening.model)
    store.number(request.part)
    labels = opening.labels.by_part.get(request.part, []) if opening.labels is not None else []
    investigation = study(opening.workspace, store, request.part, request, labels)
    domains = [f.domain for f in investigation.findings]
    fed = around(opening, store.members(request.part), domains, request.sources) if request.sources else ()
    if request.html is not None:
        write_investigation(investigation, request.html, fed)
    rows = [
        FindingRow(domain=f.domain, ce=f.ce, rises=dict(f.rises), predicted=dict(f.predicted))
        for f in investigation.findings
    ]
    reply = InvestigateReply(
        part=request.part, summary=tuple(summary(investigation)), findings=tuple(rows), html=request.html
    )
    return reply.showing(above=(*shown(investigation), *fed))


class SelectRatesRequest(Request):
    """Rates to choose, by a job's recipe."""

    out: Path = Field(description="where to write; must not exist")
    recipe: Recipe | None = Field(
        None, description="job recipe: a YAML file, or one that ships; default demo"
    )
    text: str | None = Field(None, description="other text than the recipe's")
    seeds: int = Field(2, gt=0, description="seeds per setting")


class RateRow(Rate):
    """The chosen rate of one method and budget."""

    method: str
    budget: int


class SelectRatesReply(Reply):
    """What was chosen."""

    out: Path
    rates: tuple[RateRow, ...]

    def tables(self) -> Sequence[Table]:
        """One row per method and budget."""
        columns = ["method", "budget", "learning rate", "λ", "cap / ln V"]
        rows = [[r.method, r.budget, r.learning_rate, r.retain_weight, r.margin] for r in self.rates]
        return (Table.of("Selected on validation text", columns, rows),)


def _rates_recipe(request: SelectRatesRequest) -> None:
    from rankone.experiments.config import read_demo

    _require_job(read_demo(request.recipe, request.text, rates=False))


def select_rates(opening: Opening, request: SelectRatesRequest) -> SelectRatesReply:
    """Choose each method's learning rate, λ and cap per budget on validation text."""
    from rankone.experiments.bench.run import Benchmark
    from rankone.experiments.config import read_demo
    from rankone.experiments.rates import select

    config = read_demo(request.recipe, request.text, rates=False)
    selected = select(Benchmark(config, opening.options), request.out, request.seeds)
    rates = [
        RateRow(method=method, budget=budget, **dict(rate))
        for method, by_budget in selected.rates.items()
        for budget, rate in by_budget.items()
    ]
    return SelectRatesReply(out=request.out, rates=tuple(rates))


class DemoRequest(Request):
    """The main job, as its recipe says."""

    model: Annotated[str | None, ModelName(also=tuple(FETCHABLE))] = Field(
        None,
        description="smollm2, or a folder of a chat model: French and German removed from it, each by one number",
    )
    out: Path = Field(Path("report"), description="report directory")
    text: Annotated[str | None, TextName()] = Field(
        None,
        description="other text than the recipe's; with a model: more held-out text, to measure on alone",
    )
    recipe: Recipe | None = Field(
        None, description="another job recipe: a YAML file, or one that ships, such as smollm2-controls"
    )
    replace: bool = Field(False, description="write into an existing report directory")
    harvest: Annotated[Path | None, Reads("harvest")] = Field(
        None, description="harvest to pick from, instead of a small one made now"
    )
    labels: Annotated[Path | None, Reads("labels")] = Field(None, description="labels of that harvest")

    @property
    def goes_on(self) -> bool:
        """Whether what lies at `out` may stand: it is replaced, or the job on a real model goes on there."""
        return self.replace or self.model is not None


class DemoReply(Reply):
    """What the job found, and where its report is. With a model: its parts and claims, one per language.

    tables: methods by budget, the part by scale, the edits that need no forget token.
    """

    report: Path
    part: str
    label: str
    seconds: float
    met: bool | None = None

    def lines(self) -> Sequence[str]:
        """Where the report is."""
        return (f"report: {self.report}",)


def _demo_recipe(request: DemoRequest) -> None:
    from rankone.experiments.config import read_demo

    if request.model is not None:
        if request.harvest is not None or request.labels is not None or request.replace:
            raise RankOneError(
                "demo with a model takes no harvest, labels or replace: parts are found by measuring."
            )
        if request.model in BUILTIN_MODELS and request.recipe is None:
            raise RankOneError(
                "demo on the built-in model is demo alone: leave --model out, or give a --recipe."
            )
        _real_config(request, request.model)
    else:
        _require_job(read_demo(request.recipe, request.text, harvest=request.harvest, labels=request.labels))


def _require_job(config: DemoConfig) -> None:
    named = config.model_dump(include={"model", "decomposition", "text", "harvest", "labels"})
    require_job(named, (config.forget, config.judged))


def _real_config(request: DemoRequest, model: str) -> RealModelConfig:
    from rankone.experiments.real_model.config import RealModelConfig

    return RealModelConfig.from_yaml(request.recipe or shipped()["demo-smollm2"], model=model)


def demo(opening: Opening, request: DemoRequest) -> DemoReply:
    """The main job on the built-in model: one number removes German, compared with LoRA; figures and a report."""
    if request.model is not None:
        return _real_model(opening, request, request.model)
    from rankone.experiments.config import read_demo
    from rankone.experiments.demo import run_demo
    from rankone.experiments.report.results import read_results
    from rankone.experiments.report.shown import printed

    config = read_demo(request.recipe, request.text, harvest=request.harvest, labels=request.labels)
    summary = run_demo(config, request.out, request.replace, opening.options)
    reply = DemoReply(
        report=request.out / "index.html",
        part=summary.part,
        label=summary.label,
        seconds=summary.seconds or 0.0,
    )
    return reply.showing(*printed(read_results(request.out)))


def _real_model(opening: Opening, request: DemoRequest, model: str) -> DemoReply:
    """The same job on a real model; a run that was broken off goes on in its folder."""
    from rankone.experiments.real_model.results import bars
    from rankone.experiments.real_model.run import run_real_model
    from rankone.experiments.real_model.stages import Stages
    from rankone.experiments.real_model.tables import all_tables

    if opening.options.dtype != "float32":
        raise RankOneError("demo with a model computes in float32: leave --dtype out.")
    config = _real_config(request, model)
    results, page = run_real_model(config, request.out, request.text, opening.options.device)
    reply = DemoReply(
        report=page,
        part=", ".join(result.pick for result in results),
        label=", ".join(result.language for result in results),
        seconds=sum(result.clock for result in Stages(request.out, config).seconds().values()),
        met=all(bar.met for result in results for bar in bars(result, config.tolerance)),
    )
    return reply.showing(*all_tables(results, config.tolerance))


_PARTS = ("model", "decomposition", "text", "device", "dtype")

VERBS = (
    Verb(
        "measure",
        MeasureRequest,
        Measured,
        measure,
        ("model", "text", "device", "dtype"),
        first="model",
        needs=("model",),
        writes=("out",),
        cost="seconds",
    ),
    Verb(
        "picks",
        PicksRequest,
        PicksReply,
        picks,
        (*_PARTS, "harvest", "labels"),
        first="model",
        needs=("harvest", "labels"),
        writes=("out",),
    ),
    Verb(
        "investigate",
        InvestigateRequest,
        InvestigateReply,
        investigate,
        (*_PARTS, "harvest", "labels"),
        needs=("harvest",),
        writes=("html",),
    ),
    Verb(
        "select-rates",
        SelectRatesRequest,
        SelectRatesReply,
        select_rates,
        ("device", "dtype"),
        writes=("out",),
        recipe=_rates_recipe,
    ),
    Verb("demo", DemoRequest, DemoReply, demo, ("device", "dtype"), writes=("out",), recipe=_demo_recipe),
)
