"""Tuning: scales of chosen parts fitted to an aim on any text, and what the edit does to held-out text of every domain.

The size of the edit follows the one rule of edits/fitting/size.py. The reply says whether the aim was met, which sign the
edit has, what it costs, and what to try where that is not good.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from rankone.core.artifact import refuse_existing
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.forget_text import forget_text
from rankone.edits.fitting.retain_text import default_retain, retain_text
from rankone.edits.fitting.run import Fit, FitConfig, Run
from rankone.edits.fitting.sized import fit_sized
from rankone.edits.scales import both_signs, sign_of
from rankone.edits.sharpen import SharpenRequest, sharpen
from rankone.experiments.measure import edit_damage
from rankone.metrics.damage import Damage
from rankone.parts.book import Named
from rankone.parts.parts import Parts
from rankone.render.tables import Table
from rankone.runtime.progress import Meter
from rankone.text.corpus import require_domain
from rankone.workspace import Workspace

DAMAGE_BAR = 0.03
"""A rise of a retained domain's cross-entropy by this many nats per token or more is said to be too much."""


class TuneRequest(Config):
    """Which parts to scale, what to forget and what to hold.

    parts: label → the parts that share a scale. forget: a domain, or `self:DOMAIN` for the model's own text. retain: domains
    to hold; none named: every other one that the model was trained on, as far as its folder says, else every other one of
    the corpus.
    """

    parts: dict[str, tuple[str, ...]] = Field(min_length=1)
    forget: str = "de"
    retain: tuple[str, ...] = ()
    budget: int = Field(default=4, gt=0, description="forget tokens; of no account for self:DOMAIN")
    openings: tuple[str, ...] = Field(default=(), description="what sets self:DOMAIN off")
    sharpen: bool = Field(default=False, description="sharpen the parts against the retained domains first")
    seed: int = Field(default=0, ge=0, description="which forget text")
    cap: float = Field(
        default=1.1, gt=0, description="forget cross-entropy that is enough, in units of chance"
    )
    tolerance: float = Field(default=0.015, gt=0, description="most KL on a retained domain, nats per token")
    learning_rate: float = Field(
        default=0.3, gt=0, description="of Adam on α, where there are several scales"
    )
    retain_weight: float = Field(default=1.0, ge=0, description="λ of the retain term, likewise")
    steps: int = Field(default=3000, gt=0, description="ceiling of steps, likewise")
    retain_tokens: int = Field(default=6000, gt=0, description="training tokens of all retained domains")
    test_tokens: int = Field(default=2000, gt=0, description="test tokens per domain")
    save: Path | None = Field(default=None, description="folder for the edit; must not exist")


class DomainChange(Config):
    """One domain before and after the edit, on test text."""

    domain: str
    role: str
    change: Damage


class TuneReply(Config):
    """The fitted scales and what they do.

    met: the forget domain's test text is at chance (≥ .98) and no retained domain rose by DAMAGE_BAR or more. reached:
    whether the forget text itself told that it is at its target; if not, the tolerance on retained text set the size.
    kl: KL of each retained domain on the text that was fitted, nats per token. advice: what to try where `met` is false.
    """

    aim: Aim
    scales: dict[str, float]
    sign: str
    steps: int
    forget_tokens: int
    reached: bool
    kl: dict[str, float]
    domains: tuple[DomainChange, ...]
    met: bool
    warnings: tuple[str, ...]
    advice: tuple[str, ...]
    saved: Path | None = None

    def tables(self) -> tuple[Table, Table]:
        """The scales, and what changed on every domain."""
        how = (
            f"after {self.steps} steps" if self.steps else "by size alone: one scale has nothing else to fit"
        )
        scales = Table.of(
            f"Scales ({how})", ["component", "α"], [[n, f"{a:+.3f}"] for n, a in self.scales.items()]
        )
        rows = [[r.domain, r.role, r.change.base, r.change.edited, r.change.shown] for r in self.domains]
        caption = (
            f"chance {self.aim.chance:.3f}; nats per token on held-out test text, 95% interval over passages; most KL on a "
            f"retained domain {max(self.kl.values()):.4f} of {self.aim.tolerance:g} allowed"
        )
        columns = ["domain", "role", "CE before", "CE after", "rise"]
        return scales, Table.of("What changed", columns, rows, caption)

    def conclusion(self) -> list[str]:
        """Whether the aim was met, in which way, and what to try: one line each."""
        size = "the forget text's own verdict" if self.reached else "the tolerance on retained text"
        met = "the aim is met" if self.met else "the aim is not met"
        return [
            f"{met}: {self.sign}, size set by {size}",
            *self.warnings,
            *(f"try: {line}" for line in self.advice),
        ]


def aim_of(workspace: Workspace, request: TuneRequest) -> Aim:
    """The request's aim on this model; RankOneError for a domain that the corpus has no text for."""
    aim = Aim.checked(
        {
            "forget": request.forget,
            "retain": request.retain or default_retain(workspace, request.forget),
            "chance": workspace.chance,
            "cap": request.cap,
            "tolerance": request.tolerance,
        },
        "aim",
    )
    for domain in aim.retain if aim.own_text else (aim.domain, *aim.retain):
        require_domain(workspace.corpus, domain)
    return aim


def fit(
    workspace: Workspace, request: TuneRequest, parts: Named | None = None, bar: Meter | None = None
) -> Fit:
    """Fit and size the scales; nothing is measured on other text. parts: where names are looked up, if elsewhere."""
    aim, known = aim_of(workspace, request), parts or workspace.require_parts()
    if request.sharpen:
        starts = both_signs(*_sharpened(workspace, request, aim, known))
    else:
        starts = both_signs(known, request.parts)
    text = forget_text(workspace, aim, request.budget, request.seed, request.openings)
    run = Run(text, request.seed, request.retain_weight, request.learning_rate, request.cap)
    retain = retain_text(workspace, aim, request.retain_tokens)
    config = FitConfig(steps=request.steps)
    return fit_sized(workspace.model, starts, [run], retain, aim, config, bar)[0]


def _sharpened(
    workspace: Workspace, request: TuneRequest, aim: Aim, known: Named
) -> tuple[Parts, dict[str, list[str]]]:
    """The parts asked for, sharpened, and under each label their new names.

    Target text only sets the unit of α here, which the size rule makes up for: the edit does not depend on it.
    """
    names = tuple(name for own in request.parts.values() for name in own)
    asked = SharpenRequest(parts=names, of=aim.domain, against=aim.retain)
    made, reply = sharpen(workspace, asked, known)
    renamed = dict(zip(names, (row.name for row in reply.parts), strict=True))
    return made, {label: [renamed[name] for name in own] for label, own in request.parts.items()}


def tune(
    workspace: Workspace, request: TuneRequest, parts: Named | None = None, bar: Meter | None = None
) -> TuneReply:
    """Fit, measure on held-out text of every domain, and save the edit if asked (whether or not the aim was met)."""
    if request.save is not None:
        refuse_existing(request.save)
    found = fit(workspace, request, parts, bar)
    reply = report(workspace, request, found)
    if request.save is None:
        return reply
    asked = request.model_dump(mode="json", exclude={"save", "retain"})
    provenance = {**asked, "retain": list(reply.aim.retain), "steps": found.steps, "met": reply.met}
    found.edit.bind(workspace.model).save_pretrained(request.save, provenance)
    return reply.model_copy(update={"saved": request.save})


def report(workspace: Workspace, request: TuneRequest, found: Fit) -> TuneReply:
    """What a fit came to, measured on test text."""
    aim, sized = aim_of(workspace, request), found.sized
    if sized is None:
        raise RankOneError("this fit was never brought to a size: make it with fit_sized.")
    scales = dict(zip(request.parts, found.parameters["alpha"].tolist(), strict=True))
    domains = [d for d in workspace.corpus.domains() if d not in {aim.domain, *aim.retain}]
    named = [d for d in (aim.domain, *aim.retain, *domains) if d in workspace.corpus.domains()]
    changes = edit_damage(workspace.model, found.edit, workspace.text(named, "test", request.test_tokens))
    rows = tuple(DomainChange(domain=d, role=aim.role(d), change=c) for d, c in changes.items())
    removed = aim.domain in changes and aim.removed(changes[aim.domain].edited)
    over = {d: changes[d] for d in aim.retain if changes[d].rise >= DAMAGE_BAR}
    reply = TuneReply(
        aim=aim,
        scales=scales,
        sign=sign_of(scales),
        steps=found.steps,
        forget_tokens=0 if aim.own_text else found.run.forget.tokens,
        reached=sized.reached,
        kl=dict(sized.damage),
        domains=rows,
        met=removed and not over,
        warnings=(),
        advice=(),
    )
    return reply.model_copy(update=_said(reply, changes, over))


def _said(reply: TuneReply, changes: Mapping[str, Damage], over: Mapping[str, Damage]) -> dict[str, object]:
    """Warnings, and what to try."""
    aim, warnings, advice = reply.aim, [], []
    left = changes.get(aim.domain)
    if left is not None and not aim.removed(left.edited):
        warnings.append(
            f"{aim.domain} is not at chance: {left.edited:.2f} of {aim.chance:.2f} nats (rise {left.rise:+.2f})."
        )
        advice.append(
            "the tolerance on retained text ended the edit before chance. Try another part (`rankone find`), the same one "
            "sharpened (`--sharpen`), several parts, or a larger tolerance."
            if not reply.reached
            else "the forget text came to its target before the test text did. Give more forget text, or a larger cap."
        )
    for domain, change in over.items():
        warnings.append(f"damage above the bar: {domain} rises by {change.shown} (bar {DAMAGE_BAR:g}).")
    if over:
        advice.append(
            "Ask for a smaller tolerance, sharpen the part against these domains, or take another part."
        )
    if reply.sign == "amplifying":
        warnings.append(
            "the edit amplifies: it overdrives the behaviour instead of taking it away, which shows in what it generates; "
            "on this text an inverting edit removed less at the same damage."
        )
    return {"warnings": tuple(warnings), "advice": tuple(advice)}
