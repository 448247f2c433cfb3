"""Verbs that examine decompositions: evidence, compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rankone.core.fields import DecompositionName, Positional, Request
from rankone.opening import Opening, OpenOptions
from rankone.render.columns import Column
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.text.corpus import Split
from rankone.verbs.verb import Verb

if TYPE_CHECKING:
    from rankone.decomposition.stability import Cosines as Means
    from rankone.decomposition.stability import Pair


class EvidenceRequest(Request):
    """How hard to look."""

    split: Split = Field("test", description="text to look at")
    steps: int = Field(80, gt=0, description="longest rung of the adversary's ladder, up to 1280")
    restarts: int = Field(1, gt=0, description="random starts of the adversary; the worst counts")
    out: Path | None = Field(None, description="also write the evidence as JSON")
    folder: Path | None = Field(
        None, description="folder for the evidence, the table of subcomponents and the spectrum"
    )


class EvidenceReply(Reply):
    """Where the evidence was written; its tables.

    tables: maskings, spectrum, layers, sites, kinds, verdict.
    """

    decomposition: str
    out: Path | None
    folder: Path | None


def evidence(opening: Opening, request: EvidenceRequest) -> EvidenceReply:
    """The full account of a decomposition on held-out text: maskings, attack, spectrum, where error arises, verdict."""
    from rankone.decomposition.evidence.attack import ladder_to
    from rankone.decomposition.evidence.save import save_evidence
    from rankone.decomposition.evidence.tables import evidence_tables
    from rankone.decomposition.run import account_on, broad_of, made_of, mixture_of

    loaded, artifact, corpus = opening.decomposition, opening.decomposition_artifact, opening.corpus
    original = made_of(artifact).original_subcomponents
    account, rows = account_on(
        opening.bare,
        loaded,
        mixture_of(artifact, corpus),
        original,
        ladder_to(request.steps),
        request.split,
        request.restarts,
        broad_of(artifact, corpus),
    )
    account.written_to(request.out)
    if request.folder is not None:
        save_evidence(request.folder, account, rows, {"decomposition": artifact.fingerprint})
    name = str(opening.decomposition_name)
    reply = EvidenceReply(decomposition=name, out=request.out, folder=request.folder)
    return reply.showing(*evidence_tables(account, name))


class CompareRequest(Request):
    """Two decompositions of one model."""

    one: Annotated[str, Positional(), DecompositionName()] = Field(description="decomposition A")
    other: Annotated[str, Positional(), DecompositionName()] = Field(
        description="decomposition B, of the same model"
    )
    split: Split = Field("test", description="text to look at")
    out: Path | None = Field(None, description="also write the comparison as JSON")


class Cosines(Reply):
    """Mean cosine of writes, reads and rank-one matrices, or a share by each; None where there is nothing to compare."""

    what: str
    direction: str
    u: float | None
    v: float | None
    matrix: float | None


class CompareReply(Reply):
    """How alike two decompositions are, over all sites and per site. split: shares with several matches above .5."""

    alive: tuple[int, int]
    sites: int
    only_in_one: tuple[str, ...]
    overall: tuple[Cosines, ...]
    per_site: tuple[Cosines, ...]
    split: tuple[Cosines, ...] = ()

    def tables(self) -> Sequence[Table]:
        """All sites, what is split, then each site."""
        caption = f"{self.alive[0]:,} and {self.alive[1]:,} alive subcomponents at {self.sites} sites"
        if self.only_in_one:
            caption += f"; left out, in one of them only: {', '.join(self.only_in_one)}"
        columns = ["direction", "|cos| u", "|cos| v", "cos matrix"]
        overall, split, each = (
            [list(row.model_dump().values()) for row in rows]
            for rows in (self.overall, self.split, self.per_site)
        )
        shares = [Column(name, ".1%") for name in ("by u", "by v", "by matrix")]
        splits = (
            "share of one side's subcomponents that have more than one in the other with a cosine above .5"
        )
        return (
            Table.of("Mean best cosine", ["", *columns], overall, caption),
            Table.of("Split", ["", "direction", *shares], split, splits),
            Table.of("Per site", ["site", *columns], each),
        )


def compare(opening: Opening, request: CompareRequest) -> CompareReply:
    """How alike two decompositions are: mean best cosine of u, v and rank-one matrices over alive subcomponents.

    Also one to one, and how many subcomponents of one have several matches in the other.
    """
    from rankone.core.artifact import write_json
    from rankone.decomposition.stability import compare as run_compare
    from rankone.runtime.progress import meter

    sides = [_alive_and_start(opening.options, path, request.split) for path in (request.one, request.other)]
    pairs, starts = zip(*sides, strict=True)
    with meter("compare", len(set(pairs[0]) & set(pairs[1]))) as bar:
        comparison = run_compare(pairs[0], pairs[1], starts, bar=bar)
    if request.out is not None:
        write_json(
            request.out,
            {"a": request.one, "b": request.other, **comparison.plain()},
            new=True,
            constants=True,
        )
    ways = (("A → B", comparison.a_to_b), ("B → A", comparison.b_to_a))
    each = [
        (s.site, way, m.best)
        for s in comparison.per_site
        for way, m in (("A → B", s.a_to_b), ("B → A", s.b_to_a))
    ]
    return CompareReply(
        alive=comparison.alive,
        sites=comparison.sites,
        only_in_one=comparison.only_one,
        overall=(
            *(_cosines("best match", way, matches.best) for way, matches in ways),
            *(_cosines("control: random vectors", way, matches.random) for way, matches in ways),
            *(_cosines("control: the other's start", way, matches.start) for way, matches in ways),
            _cosines("one to one", "A ↔ B", comparison.one_to_one.trained),
            _cosines("control: random vectors, one to one", "A ↔ B", comparison.one_to_one.random),
        ),
        split=(
            *(_cosines("split", way, matches.split.trained) for way, matches in ways),
            *(_cosines("control: random vectors", way, matches.split.random) for way, matches in ways),
            *(_cosines("control: the other's start", way, matches.split.start) for way, matches in ways),
        ),
        per_site=tuple(_cosines(*row) for row in each),
    )


def _cosines(what: str, direction: str, means: Means | None) -> Cosines:
    if means is None:
        return Cosines(what=what, direction=direction, u=None, v=None, matrix=None)
    return Cosines(what=what, direction=direction, u=means.u, v=means.v, matrix=means.matrix)


def _alive_and_start(
    options: OpenOptions, path: str, split: Split
) -> tuple[dict[str, Pair], dict[str, Pair] | None]:
    """Alive (V, U) by site on held-out text, and those its recipe starts from (None without a recipe)."""
    from rankone.decomposition.model import DecomposedModel
    from rankone.decomposition.run import evidence_text, mixture_of
    from rankone.decomposition.stability import alive_on, alive_pairs, initial_pairs

    opening = Opening(options.model_copy(update={"decomposition": path}))
    target, loaded = opening.model, opening.decomposition
    mixture = mixture_of(opening.decomposition_artifact, opening.corpus)
    blocks = evidence_text(opening.bare, mixture, opening.bare.context, split=split)
    with DecomposedModel(target, loaded) as wrapped:
        alive = alive_on(wrapped, blocks)
    recipe = opening.decomposition_artifact.provenance.get("recipe")
    return alive_pairs(loaded, alive), initial_pairs(target, recipe)


VERBS = (
    Verb(
        "evidence",
        EvidenceRequest,
        EvidenceReply,
        evidence,
        ("decomposition", "model", "text", "device", "dtype"),
        first="decomposition",
        writes=("out", "folder"),
    ),
    Verb(
        "compare",
        CompareRequest,
        CompareReply,
        compare,
        ("model", "text", "device", "dtype"),
        writes=("out",),
    ),
)
