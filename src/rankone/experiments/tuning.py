"""Tuning: scales of chosen parts fitted to an aim on any text, and what the edit does to held-out text of every domain.

The size of the edit follows the one rule of edits/fitting/size.py. The reply says whether the aim was met, which sign the
edit has, what it costs, and what to try where that is not good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rankone.core.artifact import refuse_existing
from rankone.core.errors import RankOneError
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.config import DIRECTIONS_RATE, LEAST_TRAINED, FitConfig
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Fit, Run
from rankone.edits.fitting.sized import fit_sized
from rankone.edits.fitting.text.enough_text import enough_text
from rankone.edits.fitting.text.forget_text import forget_text
from rankone.edits.fitting.text.openings import openings_of
from rankone.edits.fitting.text.retain_text import default_retain, retain_text
from rankone.edits.fitting.within import train_within
from rankone.edits.methods.directions import Directions
from rankone.edits.requests import FitRequest, SharpenRequest
from rankone.edits.scales import both_signs, sign_of
from rankone.edits.sharpen import sharpen
from rankone.experiments.measure import edit_damage
from rankone.experiments.requests import TuneReply, TuneRequest
from rankone.metrics.damage_record import Damage, DomainDamage, measured
from rankone.parts.book import Book, Named
from rankone.render.values import signed
from rankone.runtime.progress import Meter, log
from rankone.text.corpus import require_domain
from rankone.workspace import Workspace

DAMAGE_BAR = 0.03
"""A rise of a retained domain's cross-entropy by this many nats per token or more is said to be too much."""


def aim_of(workspace: Workspace, request: FitRequest) -> Aim:
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
    for domain in aim.retain if aim.self_text else (aim.domain, *aim.retain):
        require_domain(workspace.corpus, domain)
    return aim


Scaled = Mapping[str, Sequence[str]]
"""What is scaled: label → the parts that share its scale."""


def fit(
    workspace: Workspace,
    request: FitRequest,
    scaled: Scaled,
    parts: Named | None = None,
    bar: Meter | None = None,
) -> Fit:
    """Fit and size the scales, and train what they turn if that is asked; nothing is measured on other text.

    parts: where names are looked up, if elsewhere.
    """
    aim, known = aim_of(workspace, request), parts or workspace.require_parts()
    if request.sharpen:
        starts = both_signs(*_sharpened(workspace, scaled, aim, known))
    else:
        starts = both_signs(known, scaled)
    text = forget_text(workspace, aim, request.budget, request.seed, request.openings)
    run = Run(text, request.seed, request.retain_weight, request.learning_rate, request.cap)
    retain = retain_text(workspace, aim, request.retain_tokens)
    config = FitConfig(steps=request.steps)
    fitted = fit_sized(workspace.model, starts, [run], retain, aim, config, bar)[0]
    return trained(workspace, request, fitted, retain, aim) if request.train else fitted


def trained(workspace: Workspace, request: FitRequest, fitted: Fit, retain: RetainText, aim: Aim) -> Fit:
    """What was fitted, its directions trained: on the same text, or on what the model writes where that is too little."""
    method, forget = Directions(fitted.edit), fitted.run.forget
    if aim.self_text or forget.tokens < LEAST_TRAINED:
        openings = openings_of(aim.domain, request.openings) if aim.self_text else ()
        forget = enough_text(workspace, fitted, openings)
    held = retain.held(method.sites(), aim.measure)
    run = replace(fitted.run, forget=forget, learning_rate=DIRECTIONS_RATE, margin=request.train_cap)
    fit = train_within(workspace.model, method, run, held, held, aim, request.train)
    return replace(fit, before=fitted)


def _sharpened(
    workspace: Workspace, scaled: Scaled, aim: Aim, known: Named
) -> tuple[Book, dict[str, list[str]]]:
    """The parts asked for, sharpened, and under each label their new names.

    Target text only sets the unit of α here, which the size rule makes up for: the edit does not depend on it.
    """
    names = tuple(name for members in scaled.values() for name in members)
    asked = SharpenRequest.checked({"names": names, "of": aim.domain, "against": aim.retain}, "sharpen")
    sharpened, reply = sharpen(workspace, asked, known)
    renamed = dict(zip(names, (row.name for row in reply.parts), strict=True))
    return Book(sharpened), {label: [renamed[name] for name in members] for label, members in scaled.items()}


def tune(
    workspace: Workspace,
    request: TuneRequest,
    scaled: Scaled | None = None,
    parts: Named | None = None,
    bar: Meter | None = None,
) -> TuneReply:
    """Fit, measure on held-out text of every domain, and save the edit if asked (whether or not the aim was met).

    scaled: what the names of `request.scale` stand for, where some are components; each is a part otherwise.
    """
    scaled = scaled or {name: (name,) for name in request.scale}
    if request.out is not None:
        refuse_existing(request.out)
    fitted = fit(workspace, request, scaled, parts, bar)
    if request.out is None:
        return report(workspace, request, fitted)
    about = request.model_dump(mode="json", exclude={"out", "retain", "scale", "tokens"})
    about["parts"] = {label: list(members) for label, members in scaled.items()}
    about["test_tokens"] = request.tokens
    edit = fitted.edit.bind(workspace.model)
    # Measuring may take as long as fitting: who breaks it off keeps what was fitted.
    edit.save_pretrained(request.out, about)
    log.info(f"saved {request.out}; measured now")
    reply = report(workspace, request, fitted)
    about |= {"retain": list(reply.aim.retain), "steps": reply.steps, "met": reply.met}
    about |= {"scales": reply.scales, "weights": reply.weights, "self_tokens": reply.self_tokens}
    edit.save_pretrained(request.out, {**about, **measured(reply.domains)}, replace=True)
    return reply.model_copy(update={"saved": request.out})


def report(workspace: Workspace, request: TuneRequest, fitted: Fit) -> TuneReply:
    """What a fit came to, measured on test text."""
    aim, sized = aim_of(workspace, request), fitted.sized
    if sized is None:
        raise RankOneError("this fit has no size: make it with fit_sized.")
    scaled = fitted.before or fitted
    scales = dict(zip(request.scale, scaled.parameters["alpha"].tolist(), strict=True))
    domains = [d for d in workspace.corpus.domains() if d not in {aim.domain, *aim.retain}]
    named = [d for d in (aim.domain, *aim.retain, *domains) if d in workspace.corpus.domains()]
    changes = edit_damage(workspace.model, fitted.edit, workspace.text(named, "test", request.tokens))
    rows = tuple(DomainDamage.of(d, damage, aim.role(d)) for d, damage in changes.items())
    removed = aim.domain in changes and aim.removed(changes[aim.domain].edited)
    over = {d: changes[d] for d in aim.retain if changes[d].rise >= DAMAGE_BAR}
    reply = TuneReply(
        aim=aim,
        scales=scales,
        sign=sign_of(scales),
        steps=scaled.steps,
        trained=request.train,
        weights=dict(fitted.weights),
        forget_tokens=0 if aim.self_text else scaled.run.forget.tokens,
        self_tokens=0 if fitted.run.forget is scaled.run.forget else fitted.run.forget.tokens,
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
    if left is None:
        warnings.append(f"there is no text of {aim.domain} to see by whether it is removed.")
    elif not aim.removed(left.edited):
        warnings.append(
            f"{aim.domain} is not at chance: {left.edited:.2f} of {aim.chance:.2f} nats (rise {signed(left.rise, 2)})."
        )
        trained = "" if reply.trained else "training what it reads and writes (`--train`), "
        advice.append(
            "the tolerance on retained text ended the edit before chance. Try another part (`rankone find`), the same one "
            f"sharpened (`--sharpen`), several parts, {trained}or a larger tolerance."
            if not reply.reached
            else "the forget text came to its target before the test text did. Give more forget text, or a larger "
            f"{'train_cap' if reply.trained else 'cap'}."
        )
    for domain, change in over.items():
        warnings.append(f"damage above the bar: {domain} rises by {change.shown} (bar {DAMAGE_BAR:g}).")
    if over:
        advice.append(
            "Ask for a smaller tolerance, sharpen the part against these domains, or take another part."
        )
    if reply.sign == "amplifying" and not reply.trained:
        warnings.append(
            "the edit amplifies: it overdrives the behaviour instead of taking it away, which shows in what it generates; "
            "on this text an inverting edit removed less at the same damage."
        )
    return {"warnings": tuple(warnings), "advice": tuple(advice)}
