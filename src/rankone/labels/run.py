"""Labelling a whole harvest: statistical labels for all, a model's for those it is asked about, scores, one artefact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import cast

from rankone.core.artifact import refuse_existing
from rankone.core.errors import RankOneError
from rankone.core.escaping import visible
from rankone.harvest.reading.page import PartPage
from rankone.labels.label import Label
from rankone.labels.model.budget import Budget, Caps, Estimate
from rankone.labels.model.client import ChatClient, Question, Unanswered
from rankone.labels.model.judging import JUDGEMENT_TOKENS, NEIGHBOURS, Judgement, Trial, trials
from rankone.labels.model.llm import LABEL_TOKENS, LabelReply, label_question
from rankone.labels.model.replies import Replies
from rankone.labels.model.server import Server
from rankone.labels.pages import Pages
from rankone.labels.record import LabelCounts, LabelSettings, LabelsRecord, Shortfall, Used
from rankone.labels.samples import shuffled, split_examples
from rankone.labels.statistics.background import alike, background_of
from rankone.labels.statistics.firing import FiringPredictor, detection
from rankone.labels.statistics.statistical import statistical_label
from rankone.labels.store import save_labels
from rankone.runtime.places import holds
from rankone.runtime.progress import log, meter


@dataclass
class Outcome:
    """What a run made: all labels by part, and what it took; estimate: what the model was to be asked."""

    statistical: dict[str, Label] = field(default_factory=dict)
    model: dict[str, Label] = field(default_factory=dict)
    unanswered: int = 0
    capped: int = 0
    estimate: Estimate | None = None
    firings: dict[str, int] = field(default_factory=dict)

    def labels(self) -> list[Label]:
        """Statistical label and, after it, the model's, in the harvest's order."""
        return [
            label
            for name, first in self.statistical.items()
            for label in (first, self.model.get(name))
            if label is not None
        ]

    def best(self, name: str) -> Label:
        """The model's label, or the statistical one."""
        return self.model.get(name) or self.statistical[name]

    def by_firings(self) -> list[str]:
        """Parts that fire, the most frequent first."""
        live = [name for name, n in self.firings.items() if n > 0]
        return sorted(live, key=lambda name: (-self.firings[name], name))


def open_client(server: Server, key: str | None, caps: Caps, run: Path) -> ChatClient:
    """A client whose replies are kept under the run directory."""
    return ChatClient(server, key, Budget(caps), Replies(run / "replies"))


@holds("out")
def label_harvest(
    pages: Pages,
    harvest: str,
    out: Path,
    settings: LabelSettings,
    client: ChatClient | None = None,
    held_out: Pages | None = None,
    estimate_only: bool = False,
    decomposition: str | None = None,
) -> Outcome:
    """Label every part of a harvest and write the labels to `out`.

    harvest: its fingerprint, and decomposition the hash that it has of its own, stored with the labels. held_out: a harvest
    of other text by the same decomposition, to score on; without it, scores use the examples that labels were not written
    from. estimate_only: stop after printing what the model would be asked. Errors of the server leave no artefact; the
    replies stay in the run directory, and the same command goes on from there.
    """
    refuse_existing(out)
    run = _Run(pages, settings, client, held_out)
    run.read()
    if client is not None:
        run.outcome.estimate = run.estimate()
        _print_estimate(run.outcome.estimate, client)
        if estimate_only:
            return run.outcome
        run.ask_labels()
        if settings.score:
            run.score_by_model()
    save_labels(out, run.outcome.labels(), harvest, run.record(), decomposition=decomposition)
    return run.outcome


class _Run:
    """The steps, and what they share."""

    def __init__(
        self, pages: Pages, settings: LabelSettings, client: ChatClient | None, held_out: Pages | None
    ) -> None:
        self.pages, self.settings, self.client = pages, settings, client
        self.held_out = held_out
        self.outcome, self._estimates = Outcome(), dict[str, Estimate]()
        self.names = pages.names()
        if not self.names:
            raise RankOneError("the harvest has no parts: harvest a decomposition that has some alive.")
        if held_out is not None:
            _require_equal(self.names, held_out.names())
        self.background = background_of(held_out or pages) if settings.score else None

    def read(self) -> None:
        """What needs every page, in one pass: statistical labels, their scores, the size of the questions."""
        with meter("Reading pages", len(self.names)) as bar:
            tested = self.held_out.pages() if self.held_out is not None else repeat(None)
            for page, seen in zip(self.pages.pages(), tested, strict=False):
                name = page.part
                label = statistical_label(page)
                self.outcome.statistical[name] = replace(label, scores=self._counted(page, seen))
                self.outcome.firings[name] = page.firings
                if self.client is not None and page.firings:
                    question = label_question(page, self.settings.threshold)
                    self._estimates[name] = self.client.estimate(question, LABEL_TOKENS)
                bar.advance()

    def _counted(self, page: PartPage, seen: PartPage | None) -> dict[str, float]:
        """AUC and balanced accuracy of the statistical evidence on held-out firings; empty where there is no score."""
        if self.background is None:
            return {}
        others = self.background.others(page.part)
        if seen is None:
            _, kept = split_examples(page)
            detected = detection(FiringPredictor.of_page(page, kept), page, kept, others)
        else:
            detected = detection(FiringPredictor.of_page(page), seen, seen.examples, others)
        return {"firing_auc": detected.auc, "firing_accuracy": detected.balanced_accuracy} if detected else {}

    def to_label(self) -> list[str]:
        return self.outcome.by_firings()[: self.settings.limit]

    def to_judge(self) -> list[str]:
        """Parts whose labels are judged: those that the model labels, in a fixed random order."""
        return shuffled(self.to_label(), "judged")[: self.settings.judged] if self.settings.score else []

    def label_questions(self) -> Iterator[tuple[str, Question]]:
        for name in self.to_label():
            yield name, label_question(self.pages.page(name), self.settings.threshold)

    def trials(self) -> Iterator[tuple[Trial, Question]]:
        if self.background is None:
            return
        for name in self.to_judge():
            text, near = self.outcome.best(name).label, alike(self.outcome.firings, name, NEIGHBOURS)
            page, threshold = self.pages.page(name), self.settings.threshold
            for trial in trials(page, text, self.background, near, self.pages.page, threshold):
                yield trial, trial.question

    def estimate(self) -> Estimate:
        """Labels and judgements together; those with labels yet to come are measured with the statistical ones."""
        total = sum((self._estimates[name] for name in self.to_label()), Estimate())
        judged = (self._client().estimate(q, JUDGEMENT_TOKENS) for _, q in self.trials())
        return sum(judged, total)

    def ask_labels(self) -> None:
        client = self._client()
        with meter(f"Labels by {visible(client.server.model)}", len(self.to_label())) as bar:
            for name, reply in client.ask_all(self.label_questions()):
                if isinstance(reply, Unanswered):
                    self._missing(reply)
                else:
                    label = cast(LabelReply, reply).as_label(name, client.server.model)
                    self.outcome.model[name] = label
                bar.advance(note=_spent(client))

    def score_by_model(self) -> None:
        """Intruder, detection and fuzzing, stored with the label that was judged."""
        client, values = self._client(), dict[tuple[str, str], list[float]]()
        asked = list(self.trials())
        with meter(f"Judgements by {visible(client.server.model)}", len(asked)) as bar:
            for trial, reply in client.ask_all(asked):
                if isinstance(reply, Unanswered):
                    self._missing(reply)
                else:
                    value = trial.value(cast(Judgement, reply))
                    values.setdefault((trial.part, trial.score), []).append(value)
                bar.advance(note=_spent(client))
        for (name, score), judged in values.items():
            rows = self.outcome.model if name in self.outcome.model else self.outcome.statistical
            self._add_scores(rows, name, {score: sum(judged) / len(judged)})

    def record(self) -> LabelsRecord:
        """The artefact's config: settings, server and what it took."""
        client, outcome = self.client, self.outcome
        return LabelsRecord(
            settings=self.settings,
            server=client.server if client else None,
            caps=client.budget.caps if client else None,
            used=Used.of(client.budget) if client else None,
            labelled=LabelCounts(statistical=len(outcome.statistical), model=len(outcome.model)),
            unanswered=Shortfall(failed=outcome.unanswered, capped=outcome.capped),
        )

    def _client(self) -> ChatClient:
        assert self.client is not None
        return self.client

    def _missing(self, reply: Unanswered) -> None:
        self.outcome.capped += reply.capped
        self.outcome.unanswered += not reply.capped

    @staticmethod
    def _add_scores(rows: dict[str, Label], name: str, scores: dict[str, float]) -> None:
        rows[name] = replace(rows[name], scores={**rows[name].scores, **scores})


def _require_equal(names: list[str], tested: list[str]) -> None:
    """Raise RankOneError unless the held-out harvest has the same parts in the same order."""
    missing = sorted(set(names) - set(tested))
    if missing:
        raise RankOneError(
            f"the held-out harvest has no page for {missing[0]} and {len(missing) - 1} others: "
            "make it with the same decomposition."
        )
    if tested != names:
        raise RankOneError("the held-out harvest has other parts: make it with the same decomposition.")


def _spent(client: ChatClient) -> str:
    tokens_in, tokens_out = client.budget.used
    cost = f" · cost {client.budget.cost:.4g}" if client.budget.cost else ""
    return f"{tokens_in + tokens_out:,} tokens{cost}"


def _print_estimate(estimate: Estimate, client: ChatClient) -> None:
    caps = client.budget.caps
    cost = caps.cost(estimate.tokens_in, estimate.tokens_out)
    price = f", cost about {cost:.4g}" if caps.price_in or caps.price_out else ""
    log.info(
        f"{estimate.requests} requests to {client.server.base_url}: about {estimate.tokens_in:,} tokens in and "
        f"{estimate.tokens_out:,} out{price}; what is stored already is not asked again"
    )
    if not caps.allow(estimate.tokens_in, estimate.tokens_out):
        log.warning("That is over the cap: labels stop there, the rest stay statistical.")
