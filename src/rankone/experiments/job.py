"""What every run of a target shares under one retain set: harvest, ranking, the pick, text to forget and to hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from rankone.clustering.config import ClusterConfig
from rankone.clustering.run import clustered
from rankone.core.artifact import Artifact
from rankone.decomposition.run import made_of
from rankone.edits.adapters import Method
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.text.forget_text import budget_text
from rankone.edits.fitting.text.retain_text import retain_text
from rankone.edits.methods.kind import Target
from rankone.edits.methods.registry import kind_named
from rankone.edits.ranking.asked import Asked, Sources
from rankone.edits.ranking.gradient import by_gradient
from rankone.edits.ranking.measured import Tried, measured
from rankone.edits.requests import SharpenRequest
from rankone.edits.scales import unscaled
from rankone.edits.selection import (
    contrast,
    labelled_candidates,
    specificity,
    top_names,
)
from rankone.edits.sharpen import sharpen
from rankone.experiments.config import BenchConfig
from rankone.harvest.brief import brief_harvest
from rankone.harvest.reading.page import most_informative
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.reading.summary import Importances
from rankone.labels.label import Labelled
from rankone.labels.on_demand import StatisticalLabels
from rankone.labels.store import open_labels
from rankone.models.sites import Site
from rankone.parts.moments import Moments, collect_moments, combined
from rankone.parts.parts import Parts
from rankone.runtime.progress import meter
from rankone.text.blocks import Blocks
from rankone.text.corpus import require_domain
from rankone.workspace import Workspace

# Parts that are ranked for methods with several scales.
RANKED = 64


@dataclass
class Job:
    """A workspace with what is asked of it, and everything computed from both once. retain: the retain set by its name."""

    config: BenchConfig
    workspace: Workspace
    retain: str
    _starts: dict[str, Sequence[Method]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for domain in {*self.config.trained, *self.config.evaluated}:
            require_domain(self.workspace.corpus, domain)

    @cached_property
    def store(self) -> HarvestStore:
        """The harvest that the selection reads: the one that is named, or one made now on training text."""
        if self.config.harvest is None:
            return brief_harvest(self.workspace, self.config.trained, self.config.selection_tokens)
        store = HarvestStore.open(self.config.harvest, self.workspace.decomposition, self.workspace.model)
        store.require_subcomponents("this job")
        return store

    @cached_property
    def importances(self) -> Importances:
        """Mean importance of every subcomponent per trained domain."""
        return self.store.importances().only(self.config.trained)

    @cached_property
    def labels(self) -> Labelled:
        """Labels of the harvest: those that are named, or statistical ones made when they are asked for."""
        if self.config.labels is None:
            return StatisticalLabels(self.store)
        return open_labels(self.config.labels, self.store.artifact.fingerprint)

    @cached_property
    def top(self) -> list[str]:
        """The 64 subcomponents with the largest importance contrast forget − retain."""
        score = contrast(self.importances, [self.config.forget], [self.config.judged])
        return top_names(self.importances, score, RANKED)

    @cached_property
    def tried(self) -> list[Tried]:
        """Candidates by harvest and labels, each measured at the size that retained text allows it, best first."""
        forget, space = self.config.forget, self.workspace
        named, _ = labelled_candidates(self.importances, self.store.activations(), self.labels, forget)
        return self._measured(space.require_parts(), [c.name for c in named[: self.config.candidates]])

    def _measured(self, parts: Parts, names: Sequence[str]) -> list[Tried]:
        """Each part at the size that retained text allows it, on validation text, best first."""
        text = self.workspace.blocks(self.config.forget, "validation", self.config.pick_tokens)
        with meter("measure candidates", len(names)) as bar:
            return measured(self.workspace.model, parts, names, text, self.retain_text.text, self.aim, bar)

    @property
    def pick(self) -> str:
        """The part that is turned: of the candidates the one that removes most at its size."""
        return self.tried[0].name

    def forget_text(self, budget: int, seed: int) -> Blocks:
        """Exactly `budget` forget tokens of training text; every seed begins at another passage."""
        return budget_text(self.workspace, self.config.forget, budget, seed)

    @cached_property
    def aim(self) -> Aim:
        """What all fits are for."""
        return self.config.aim(self.workspace.chance, self.retain)

    @property
    def judged(self) -> Aim:
        """What its results are judged by."""
        return self.config.judged_by(self.workspace.chance)

    @cached_property
    def retain_text(self) -> RetainText:
        """Rows of the held domains with what the base model says there."""
        return retain_text(self.workspace, self.aim, self.config.retain_tokens, self.config.retain_length)

    def starts(self, name: str) -> Sequence[Method]:
        """Where fits of a method start: two for each method, or as published one; some are searched for, once."""
        if name not in self._starts:
            kind = kind_named(name)
            starts, one = kind.starts(self.target), self.config.one_start and kind.trained
            self._starts[name] = [unscaled(starts[0])] if one else starts
        return self._starts[name]

    @cached_property
    def target(self) -> Target:
        """What methods are built from."""
        specific = specificity(self.importances, self.config.forget)
        return Target(
            self.workspace.model,
            self.workspace.require_parts(),
            self.pick,
            self.top,
            sharpened=lambda: self.sharpened,
            moments=self._moments,
            specific=top_names(self.importances, specific, RANKED),
            labelled=lambda: self._labelled,
            steepest=lambda: self._steepest,
            component=lambda: self._component,
            best_of=lambda parts: self._measured(parts, parts.names())[0].name,
            texts=lambda: self._texts,
            sae=self.config.sae,
        )

    @cached_property
    def _component(self) -> list[str]:
        """What fires together with the pick on training text, the pick among it."""
        asked = {"domains": self.config.trained, "tokens": self.config.selection_tokens}
        config = ClusterConfig(**asked, context=self.workspace.context)
        components = clustered(self.workspace, config)
        return next((c.members for c in components if self.pick in c.members), [self.pick])

    @cached_property
    def _labelled(self) -> list[str]:
        """Of the most specific parts those whose label names the domain to forget and no other, best first."""
        named, _ = labelled_candidates(
            self.importances, self.store.activations(), self.labels, self.config.forget, RANKED
        )
        return [candidate.name for candidate in named]

    @cached_property
    def _steepest(self) -> list[str]:
        """By |∂CE/∂α| on the domain to forget less its mean on the other trained domains, on training text."""
        forget, trained = self.config.forget, self.config.trained
        asked = Asked(of=(forget,), against=tuple(d for d in trained if d != forget))
        ranking = by_gradient(asked, Sources(lambda: self.workspace, trained, self.config.selection_tokens))
        return [ranking.names[i] for i in ranking.order(RANKED)]

    def _moments(self, sites: Sequence[Site]) -> tuple[Moments, Moments]:
        """Moments of some sites on training text to forget, and the mean of those on the other trained domains."""

        model = self.workspace.model
        wanted, *others = (collect_moments(model, sites, t.ids, t.present) for t in self._texts.values())
        return wanted, combined(others, [1.0] * len(others))

    @cached_property
    def _texts(self) -> dict[str, Blocks]:
        """Training text of every trained domain, as much as is harvested, that to forget first."""
        forget = self.config.forget
        domains = [forget, *(d for d in self.config.trained if d != forget)]
        return self.workspace.text(domains, "train", self.config.selection_tokens)

    @cached_property
    def sharpened(self) -> Parts:
        """The picked part with its read direction refitted on training text of the trained domains."""
        others = tuple(d for d in self.config.trained if d != self.config.forget)
        asked = {"names": (self.pick,), "of": self.config.forget, "against": others}
        (made,), _ = sharpen(self.workspace, SharpenRequest.checked(asked, "sharpen"))
        return made

    def part_rows(self, count: int = 20) -> list[dict[str, object]]:
        """The table of the most forget-specific parts: label, importance per domain, firing and output tokens."""
        importances, single = self.importances, self.pick
        score = specificity(importances, self.config.forget)
        names = top_names(importances, score, count)
        if single not in names:
            names = [*names[:-1], single]
        columns = {name: i for i, name in enumerate(importances.names)}
        return [
            {
                "rank": rank + 1,
                "part": name,
                "label": self.labels.best(name).label,
                "score": float(score[columns[name]]),
                **{f"importance_{d}": float(importances.of(d)[columns[name]]) for d in importances.domains},
                **self._tokens(name),
                "picked": name == single,
            }
            for rank, name in enumerate(names)
        ]

    def _tokens(self, name: str, top: int = 8) -> dict[str, list[str]]:
        """The most informative tokens of one part."""
        page = self.store.page(name, examples=0)
        sides = {"firing_tokens": page.input_tokens, "output_tokens": page.output_tokens}
        return {
            side: [row.text for row in most_informative(rows, top) if row.pmi > 0]
            for side, rows in sides.items()
        }


DECOMPOSITION = "the decomposition itself"


def spent(job: Job, decomposition: Artifact) -> dict[str, int]:
    """Tokens of the text to forget that were read before any fit, by purpose.

    Of the decomposition those of its last training; left out where it does not say what it was trained on.
    """
    recipe, forget = made_of(decomposition).recipe, job.config.forget
    return {
        **({} if recipe is None else {DECOMPOSITION: recipe.tokens_of(forget)}),
        "harvest and ranking": job.store.tokens().get(forget, 0),
        "measuring candidates": job.config.pick_tokens,
    }
