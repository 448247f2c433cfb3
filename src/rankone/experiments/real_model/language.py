"""One language: find its part, bring it and a LoRA to their sizes, train on what falls short, measure on held-out text,
ask, export.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from rankone.answers.answer import Answer
from rankone.answers.sideeffects import SideEffectRequest, SideEffects, side_effects
from rankone.core.artifact import remove_artifact
from rankone.core.config import Config
from rankone.edits.adapters import Method
from rankone.edits.export import export_adapter
from rankone.edits.finding.find import find_parts
from rankone.edits.finding.found import Found
from rankone.edits.finding.request import FindConfig
from rankone.edits.finding.scanner import Clean, scanning
from rankone.edits.finding.text import about_blocks, spread_blocks
from rankone.edits.finding.together import pair_parts
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.config import FitConfig
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Fit, Run
from rankone.edits.fitting.size import Held
from rankone.edits.fitting.sized import fit_sized
from rankone.edits.fitting.text.forget_text import forget_text
from rankone.edits.fitting.text.retain_text import retain_text
from rankone.edits.fitting.within import train_within
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.directions import Directions
from rankone.edits.methods.lora import Lora
from rankone.edits.scales import FIRST_STEP, Scales
from rankone.experiments.real_model.config import RealModelConfig
from rankone.experiments.real_model.results import (
    LORA,
    SCALE,
    TRAINED,
    TRAINED_LORA,
    Fitted,
    HeldOut,
    HeldOutOfAll,
    Language,
    shipped_of,
)
from rankone.experiments.real_model.stages import Result, Stages
from rankone.metrics.damage_record import Damage, DomainDamage, measured
from rankone.parts.moments import Moments
from rankone.parts.parts import load_parts
from rankone.parts.storage import save_parts
from rankone.text.about import about_domain, about_passages
from rankone.text.blocks import Blocks
from rankone.text.corpus import Corpus, Split
from rankone.workspace import Workspace

TIGHT, LONGER = 0.5, 4
"""A domain that used so much of its tolerance at the scale's size is read so many times as long as the target."""


class Exported(Config):
    """An adapter, and what plain PEFT made of it: largest difference of a logit from the edited model."""

    path: str
    engine: str
    difference: float


@dataclass
class Job:
    """One language on one model.

    corpora: held-out text by name, the workspace's own among it. moments, base_answers, clean: of training text and of the
    unedited model, shared by languages.
    """

    config: RealModelConfig
    workspace: Workspace
    language: str
    stages: Stages
    model_name: str
    corpora: Mapping[str, Corpus]
    moments: dict[str, Moments] = field(default_factory=dict)
    base_answers: dict[str, Answer] = field(default_factory=dict)
    clean: Clean = field(default_factory=Clean)

    def run(self) -> Language:
        """All stages; those that are finished are read."""
        search, fits = self.search, self.fits
        held = self._stage("held-out", HeldOutOfAll, self._held_out)
        exported = self._stage("adapter", Exported, self._export)
        return Language(
            language=self.language,
            chance=self.workspace.chance,
            search=search,
            fits=fits,
            held_out=held.edits,
            effects=self._stage("answers", SideEffects, self._answers),
            adapter=exported.path,
            adapter_difference=exported.difference,
            adapter_engine=exported.engine,
        )

    @property
    def spared(self) -> tuple[str, ...]:
        """Domains that must stay."""
        wanted = self.config.spared or tuple(self.workspace.corpus.domains())
        return tuple(d for d in wanted if d != self.language)

    @cached_property
    def search(self) -> Found:
        """The measured parts; the pick is turned."""
        return self._stage("found", Found, self._find)

    @cached_property
    def fits(self) -> dict[str, Fitted]:
        """The scale, what was trained from it where it stops short of its target, and LoRAs beside them."""
        made = {SCALE: self._fitted(SCALE)}
        short = self.config.train_steps > 0 and not made[SCALE].reached
        if short:
            made[TRAINED] = self._trained(TRAINED)
        made[LORA] = self._fitted(LORA)
        if short and self.config.train_lora:
            made[TRAINED_LORA] = self._trained(TRAINED_LORA)
        return made

    @cached_property
    def edits(self) -> dict[str, LowRankEdit]:
        """The edits that were fitted, as saved."""
        return {name: self._edit(name) for name in self.fits}

    @property
    def shipped(self) -> LowRankEdit:
        """The edit that is asked questions and exported."""
        return self.edits[shipped_of(self.fits)]

    def _edit(self, name: str) -> LowRankEdit:
        return LowRankEdit.from_pretrained(self._path(f"{name}-edit"))

    def _stage(self, name: str, kind: type[Result], make: Callable[[], Result]) -> Result:
        return self.stages.stage(f"{self.language}-{name}", kind, make)

    def _path(self, name: str) -> Path:
        return self.stages.folder / f"{self.language}-{name}"

    def _fresh(self, name: str, kind: str) -> Path:
        """A path to write to: what an earlier sitting left there before it was broken off is removed."""
        path = self._path(name)
        if path.exists():
            remove_artifact(path, kind)
        return path

    def _find(self) -> Found:
        c = self.config
        request = FindConfig(
            of=self.language,
            against=self.spared,
            sites=c.sites,
            sources=c.sources,
            shortlist=c.shortlist,
            sites_measured=c.sites_measured,
            tokens=c.tokens,
            rank_tokens=c.rank_tokens,
            tolerance=c.tolerance.without(self.language),
            enough=c.cap,
            together=c.together,
            several=c.several,
            about_weight=c.about_weight,
            seed=c.seed,
        )
        search, book = find_parts(self.workspace, request, self.moments, self.clean)
        pair = search.chosen_pair
        held = book.gathered([search.pick.part]) if pair is None else pair_parts(pair, self.language, book)
        provenance = {"request": request.model_dump(mode="json")}
        save_parts([held], self.workspace.model, self._fresh("part", "parts"), provenance)
        return search

    def _fitted(self, name: str) -> Fitted:
        return self._stage(name, Fitted, lambda: self._fit(name))

    def _fit(self, name: str) -> Fitted:
        """Fit one edit on the forget text and bring it to its size by the one rule (edits/fitting/size.py)."""
        c, model = self.config, self.workspace.model
        aim, retain = self._retained
        text = forget_text(self.workspace, aim, c.budget, c.seed)
        run = Run(text, c.seed, 1.0, c.lora_rate, c.cap)
        config = FitConfig(steps=c.lora_steps, patience=c.lora_steps)
        fit = fit_sized(model, self._starts(name), [run], retain, aim, config)[0]
        self._save(name, fit.edit)
        return _recorded(fit)

    def _save(self, name: str, edit: LowRankEdit) -> None:
        path = self._fresh(f"{name}-edit", "edit")
        edit.bind(self.workspace.model).save_pretrained(path, {"config": self.config.model_dump(mode="json")})

    def _trained(self, name: str) -> Fitted:
        return self._stage(name, Fitted, lambda: self._train(name))

    def _train(self, name: str) -> Fitted:
        """Train the scale's directions, or a LoRA from its start, within the tolerances on training text.

        Training text says how large it must be, validation text how large it may be: more of a domain that used most of its
        tolerance already, of which `size_tokens` say too little.
        """
        c, model, scale = self.config, self.workspace.model, self._edit(SCALE)
        method, rate = Directions(scale, TRAINED), c.train_rate
        if name == TRAINED_LORA:
            method, rate = Lora(model, list(scale.sites), rank=1, name="lora_r1_local"), c.train_lora_rate
        aim, retain = self._retained
        forget, spared = self._training_text
        run, measure = Run(forget, c.seed, 1.0, rate, c.train_cap), aim.measure
        training = Held(model, method.sites(), spared, measure)
        held = retain.held(method.sites(), measure)
        if c.size_by == "rise":
            tight, more = self._tight.intersection(self.spared), c.size_tokens * LONGER
            held = held.with_more({d: self._spread(d, "validation", more) for d in tight})
        fit = train_within(model, method, run, training, held, aim, c.train_steps, c.train_rounds)
        self._save(name, fit.edit)
        return _recorded(fit)

    @cached_property
    def _training_text(self) -> tuple[Blocks, dict[str, Blocks]]:
        """Training text of the target, and of all that must stay: more of what stopped the scale."""
        whole = self.config.train_tokens

        def tokens(domain: str) -> int:
            return whole * LONGER if domain in self._tight else whole // 2

        rows = {d: self._spread(d, "train", tokens(d)) for d in self.spared}
        about = self._about("train", tokens(about_domain(self.language)))
        return self._spread(self.language, "train", whole), rows | about

    @cached_property
    def _tight(self) -> set[str]:
        """The domains that used much of their tolerance at the scale's size."""
        aim, _ = self._retained
        return {d for d, damage in self._fitted(SCALE).damage.items() if damage / aim.tolerated(d) >= TIGHT}

    def _spread(self, domain: str, split: Split, tokens: int) -> Blocks:
        return spread_blocks(self.workspace, domain, split, tokens, self.config.seed)

    @cached_property
    def _retained(self) -> tuple[Aim, RetainText]:
        """What every fit is held by, the same text for each."""
        about = self._about("validation", self.config.retain_tokens)
        aim, given = self._aim(about), about | self._validation()
        return aim, retain_text(self.workspace, aim, self.config.retain_tokens, given=given)

    def _validation(self) -> dict[str, Blocks]:
        """Where rises set the size, validation text, more of it than the scan read; else nothing."""
        c = self.config
        if c.size_by == "kl":
            return {}
        return {d: self._spread(d, "validation", c.size_tokens) for d in self.spared}

    def _aim(self, beside: Mapping[str, Blocks]) -> Aim:
        """What must stay, the corpus's domains and those beside them, each with what it may cost."""
        c, retained = self.config, (*self.spared, *beside)
        values = {"forget": self.language, "retain": retained, "chance": self.workspace.chance, "cap": c.cap}
        by_domain = {d: c.tolerance.about for d in beside}
        if c.size_by == "rise":
            by_domain |= {d: c.tolerance.of(d) for d in self.spared}
        values |= {"tolerance": c.retain_kl, "tolerances": by_domain, "measure": c.size_by}
        return Aim.checked(values, "aim")

    def _about(self, split: str, tokens: int) -> dict[str, Blocks]:
        """English about the country of the language, under its name; nothing where there is none."""
        if not about_passages(self.language, split):
            return {}
        return {about_domain(self.language): about_blocks(self.workspace, self.language, split, tokens)}

    def _starts(self, name: str) -> Sequence[Method]:
        """The one scale, of a part or of a pair, with the sign that it was found with; a LoRA on the same matrices."""
        search, (parts,) = self.search, load_parts(self._path("part"), self.workspace.model)
        if name == LORA:
            return [Lora(self.workspace.model, parts.sites, rank=1, name="lora_r1_local")]
        inverted = search.chosen_pair is not None or search.pick.alpha < 1
        step = -FIRST_STEP if inverted else FIRST_STEP
        return [Scales(parts, {search.turned: parts.names()}, "scale", 1 + step)]

    def _held_out(self) -> HeldOutOfAll:
        """Damage by corpus and domain; base losses and what lies before the edited block are computed once."""
        damage: dict[str, dict[str, dict[str, Damage]]] = {name: {} for name in self.edits}
        sites = list(dict.fromkeys(site for edit in self.edits.values() for site in edit.sites))
        for corpus in self.corpora:
            with (
                scanning(self.workspace.model, self._test(corpus), self.search.sites, self.clean) as whole,
                whole.later(sites) as scanner,
            ):
                for name, edit in self.edits.items():
                    damage[name][corpus] = scanner.damage(edit)
        unseen = tuple(n for n, c in self.corpora.items() if c is not self.workspace.corpus)
        for name, by_corpus in damage.items():
            about = {"config": self.config.model_dump(mode="json"), **measured(self._rows(by_corpus))}
            self.edits[name].save_pretrained(self._path(f"{name}-edit"), about, replace=True)
        return HeldOutOfAll(edits={name: HeldOut(damage=d, unseen=unseen) for name, d in damage.items()})

    def _rows(self, by_corpus: Mapping[str, Mapping[str, Damage]]) -> Iterator[DomainDamage]:
        """For the card of an edit; a domain of text that was not searched is told by its corpus."""
        for corpus, domains in by_corpus.items():
            beside = "" if self.corpora[corpus] is self.workspace.corpus else f", {corpus}"
            for domain, rise in domains.items():
                role = "forget" if domain == self.language else "retain"
                yield DomainDamage.of(f"{domain}{beside}", rise, role)

    def _test(self, name: str) -> dict[str, Blocks]:
        """Test rows of every domain of a corpus that is the target or spared, and English about the country beside one."""
        corpus, tokens = self.corpora[name], self.config.test_tokens
        space = replace(self.workspace, corpus=corpus)
        wanted = [d for d in corpus.domains() if d in (self.language, *self.spared)]
        text = {d: spread_blocks(space, d, "test", tokens) for d in wanted}
        return text | (self._about("test", tokens) if corpus is self.workspace.corpus else {})

    def _answers(self) -> SideEffects:
        asked = SideEffectRequest(target=self.language, tokens=self.config.answer_tokens)
        return side_effects(self.workspace, self.shipped, asked, self.base_answers)

    def _export(self) -> Exported:
        """A standard LoRA adapter, read back by plain PEFT in a process of its own."""
        path = self._fresh("adapter", "adapter")
        report = export_adapter(self.workspace.model, self.shipped, path, self.model_name)
        return Exported(path=path.name, engine=report.engine, difference=report.difference)


def _recorded(fit: Fit) -> Fitted:
    assert fit.sized is not None
    return Fitted(
        alpha=float(fit.parameters["alpha"][0]) if "alpha" in fit.parameters else None,
        size=fit.sized.size,
        forget_tokens=fit.run.forget.tokens,
        steps=fit.steps,
        reached=fit.sized.reached,
        damage=dict(fit.sized.damage),
        weights=dict(fit.weights),
    )
