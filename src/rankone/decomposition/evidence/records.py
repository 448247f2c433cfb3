"""What the evidence holds, from the row of one masking to the whole; nothing here needs PyTorch.

CE and KL are nats per token. A part of the evidence that was not measured is None or empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from pydantic import JsonValue

from rankone.core.artifact import Artifact
from rankone.core.config import Record
from rankone.core.schemas.evidence import FILE, SCHEMA


class Masking(StrEnum):
    """How subcomponents are masked. ROUNDED has a threshold (masks are 1 above it), ADVERSARIAL steps of gradient ascent."""

    TARGET = "target"
    UNMASKED = "unmasked"
    STOCHASTIC = "stochastic"
    CI = "ci"
    RANDOM = "random"
    ROUNDED = "rounded"
    ZERO = "zero"
    ADVERSARIAL = "adversarial"


class Grouping(StrEnum):
    """By what sites are taken together."""

    LAYER = "layer"
    KIND = "kind"
    SITE = "site"


class Check(StrEnum):
    """The lines of the verdict: four properties, then the known failures."""

    FAITHFULNESS = "faithfulness"
    MINIMALITY = "minimality"
    MECHANISTIC_FAITHFULNESS = "mechanistic_faithfulness"
    SIMPLICITY = "simplicity"
    CI_COLLAPSE = "ci_collapse"
    TOO_DENSE = "too_dense"
    POLYSEMANTIC = "polysemantic"
    UNDER_TRAINED = "under_trained"
    DEAD_LAYER = "dead_layer"
    WEAK_ADVERSARY = "weak_adversary"
    OVERFITTED_ADVERSARY = "overfitted_adversary"
    NO_BETTER_THAN_ITS_BASIS = "no_better_than_its_basis"

    @property
    def words(self) -> str:
        """What a table calls it."""
        return _TITLES.get(self, self.value.replace("_", " "))


_TITLES = {Check.CI_COLLAPSE: "CI collapse", Check.UNDER_TRAINED: "under-trained"}


class Score(Record):
    """Mean CE over scored tokens, and mean KL to the target over real positions."""

    ce: float
    kl: float


class MaskingRow(Score):
    """The score of one masking. delta: whether the deltas are on; None where nothing is masked.

    ce_unrecovered: (CE − CE_target) / (CE_zero − CE_target), None where zero ablation does no harm. kl_restarts: of every
    start of the adversary; kl_spread: the highest less the lowest.
    """

    masking: Masking
    threshold: float | None = None
    steps: int | None = None
    delta: bool | None = None
    ce_unrecovered: float | None = None
    kl_restarts: tuple[float, ...] = ()
    kl_spread: float | None = None

    @property
    def title(self) -> str:
        """What a table calls the masking."""
        if self.masking == Masking.CI:
            return "CI as mask"
        if self.threshold is not None:
            return f"rounded > {self.threshold:g}"
        return f"adversarial, {self.steps} PGD steps" if self.steps is not None else str(self.masking)


def kl_of(
    rows: Iterable[MaskingRow], masking: Masking, threshold: float | None = None, steps: int | None = None
) -> float:
    """KL of a masking with delta off; KeyError where there is no such row."""
    for row in rows:
        if (row.masking, row.delta) == (masking, False) and (threshold, steps) in (
            (None, None),
            (row.threshold, row.steps),
        ):
            return row.kl
    raise KeyError(f"{masking} {threshold or steps or ''}")


class LayerSparsity(Record):
    """L0 and alive subcomponents of a layer, of how many."""

    layer: str
    l0: float
    alive: int
    subcomponents: int


class SiteSparsity(Record):
    """L0 and alive subcomponents of a site; `subcomponents` as many as were trained, `kept` those not folded into delta."""

    site: str
    l0: float
    alive: int
    kept: int
    subcomponents: int


class TextUsed(Record):
    """The text that was looked at; `sources` of the domains that have several."""

    name: str
    fingerprint: str
    split: str
    sources: dict[str, tuple[str, ...]] | None = None


class AdversaryUsed(Record):
    """Budget of the adversary: one source vector shared over all positions, PGD with step size `step`."""

    step: float
    ladder: tuple[int, ...]
    restarts: int
    positions: int
    gradients: int


class WidestGap(Record):
    """The widest step between neighbours of the positive mean importances, in decades, after the `count` highest."""

    above: float
    below: float
    decades: float
    count: int


class GapAtAlive(Record):
    """The lowest mean importance over the bound of alive and the highest at or below it."""

    above: float | None
    below: float
    decades: float | None


class Quantile(Record):
    """The mean importance that a share of the subcomponents does not exceed."""

    share: float
    mean_importance: float


class Spectrum(Record):
    """The sorted mean importances in a few figures; `zero` and `between_zero_and_alive` are counts."""

    zero: int
    between_zero_and_alive: int
    widest_gap: WidestGap | None
    gap_at_alive: GapAtAlive
    quantiles: tuple[Quantile, ...]


class Habits(Record):
    """Shares that the verdict reads (spectrum.py)."""

    undecided: float
    bipolar: float
    half_on: float


class SubcomponentRow(Record):
    """One subcomponent and the habits of its importance (spectrum.py); `rank` by falling mean importance."""

    rank: int
    subcomponent: str
    site: str
    mean_importance: float
    density: float
    undecided: float
    minority: float


class GroupScore(Score):
    """The score with one group of sites masked, or attacked, alone."""

    by: Grouping
    group: str


class GroupAttack(Record):
    """Adversaries that have the sources of one group alone, all others held at 1; `whole` has all sources."""

    steps: int
    tokens: int
    whole: Score
    groups: tuple[GroupScore, ...]


class HiddenError(Record):
    """Mean squared error of a site's output with all sites masked, and as a share of the untouched output's square."""

    site: str
    layer: str
    kind: str
    ci: float
    stochastic: float
    ci_share: float
    stochastic_share: float


class BasisFigures(Record):
    """Specificities, geometric means (privileged_basis.py)."""

    specificity_by_importance: float
    ratio_by_importance: float
    specificity_by_lead: float
    ratio_by_lead: float
    best_parts: float
    best_raw: float
    best_singular: float
    best_contrast: float


class KindBasis(BasisFigures):
    """Over the domains, of one kind of site."""

    kind: str


class DomainBasis(KindBasis):
    """Of one kind of site and one domain."""

    domain: str


class ReadLeak(Record):
    """What the parts of a site write where they are not important, as a share of its squared output."""

    site: str
    share: float


class PrivilegedBasis(Record):
    """Parts against the basis they could have been read off; `tokens` by domain, `top` parts in each mean."""

    top: int
    tokens: dict[str, int]
    rows: tuple[DomainBasis, ...]
    kinds: tuple[KindBasis, ...]
    read_leak: tuple[ReadLeak, ...]


class Finding(Record):
    """One line of the verdict. met: a property holds, or a failure is absent; None where it was not measured."""

    name: Check
    met: bool | None
    said: str
    bar: str


class Verdict(Record):
    """The four properties, and the known failures."""

    properties: tuple[Finding, ...]
    failures: tuple[Finding, ...]


class Sparsity(Record, extra="ignore"):
    """L0 (mean number with g > 0) and alive (mean g > 1e-6) in all and per layer."""

    l0_total: float
    alive_total: int
    subcomponents: int
    per_layer: tuple[LayerSparsity, ...]


class Outline(Sparsity):
    """What the evidence of every version has. faithfulness: mean squared error of the weights."""

    rows: tuple[MaskingRow, ...]
    faithfulness: float


class SparsityBySite(Sparsity, extra="forbid"):
    """Sparsity with every site; `kept`: subcomponents not folded into delta."""

    kept: int
    per_site: tuple[SiteSparsity, ...]


class Account(Outline, SparsityBySite, extra="forbid"):
    """A decomposition on one text. delta_norm_share: ‖Δ‖² / ‖W‖² over all sites."""

    tokens: int
    text: TextUsed
    delta_norm_share: float
    adversary: AdversaryUsed


class Measured(Account):
    """All that the verdict is drawn from."""

    spectrum: Spectrum
    habits: Habits
    masked_alone: tuple[GroupScore, ...]
    adversary_by_group: GroupAttack
    hidden: tuple[HiddenError, ...]
    privileged_basis: PrivilegedBasis | None = None


class Evidence(Measured):
    """The whole. broad: of a targeted decomposition, its second text, where delta is always on."""

    schema_version: Literal[3] = 3
    verdict: Verdict
    broad: Account | None = None


def read_outline(document: dict[str, JsonValue], where: str) -> Outline:
    """What an evidence.json of any version holds: the whole, or of an early one what it has.

    A bare file says its version itself, from 3 on. RankOneError, naming `where` it was read, for anything else.
    """
    version = document.get("schema_version", 1)
    current = SCHEMA.current(FILE, document, version if isinstance(version, int) else 1)
    kind = Evidence if "verdict" in current else Outline
    return kind.checked(current, where)


def evidence_of(artifact: Artifact) -> Evidence:
    """The evidence in an artefact, migrated to the version of today."""
    return Evidence.checked(artifact.json(FILE), str(artifact.path / FILE))
