"""What the evidence says in plain words: the four properties, and the known ways in which a decomposition fails.

Every check is a function from what was measured to a Finding, with its bar beside it. The bars are ours. Those in
shares of zero ablation stand where the published 67M decomposition of "Adversarial Parameter Decomposition" does (CI as
mask 1 %, 20 PGD steps 1.2 % of the KL of zero ablation), the adversary's with room; a bar says what to look at, no more.
"""

from __future__ import annotations

from collections.abc import Callable

from rankone.decomposition.evidence.records import Check, Finding, Masking, Measured, Verdict, kl_of

UNMASKED_KL = 0.01
L0_SHARE = 0.02
CI_SHARE = 0.01
ATTACK_SHARE = 0.05
ATTACK_STEPS = 20
COLLAPSED_SHARE = 0.5
COLLAPSED_L0 = 0.1
DENSE_SHARE = 0.1
BIPOLAR_SHARE = 0.2
HALF_ON_SHARE = 0.05
UNDECIDED_SHARE = 0.3
ROUNDING_LOSS = 0.25
DEAD_ALIVE = 0.01
DEAD_L0 = 0.05
GROWTH = 1.25
OVERFIT = 20.0
SPECIFIC = 1.5


def verdict(measured: Measured) -> Verdict:
    """All properties and failure modes."""
    return Verdict(
        properties=tuple(check(measured) for check in PROPERTIES),
        failures=tuple(check(measured) for check in FAILURES),
    )


def faithfulness(measured: Measured) -> Finding:
    """Whether the subcomponents add up to the weights: everything on, delta off."""
    kl, share = kl_of(measured.rows, Masking.UNMASKED), measured.delta_norm_share
    return _finding(
        Check.FAITHFULNESS,
        kl <= UNMASKED_KL,
        f"all subcomponents together are {kl:.2g} nats from the target; delta holds {share:.2%} of the squared weights",
        f"KL unmasked ≤ {UNMASKED_KL} nats",
    )


def minimality(measured: Measured) -> Finding:
    """Whether few subcomponents are needed at a position."""
    share = measured.l0_total / measured.subcomponents
    return _finding(
        Check.MINIMALITY,
        share <= L0_SHARE,
        f"{measured.l0_total:.1f} of {measured.subcomponents:,} are needed at a position ({share:.2%})",
        f"L0 ≤ {L0_SHARE:.0%} of the subcomponents",
    )


def mechanistic_faithfulness(measured: Measured) -> Finding:
    """Whether what is not important can be ablated, all of it or as an adversary likes."""
    zero, ci = kl_of(measured.rows, Masking.ZERO), kl_of(measured.rows, Masking.CI)
    attack = _attack(measured, ATTACK_STEPS)
    said = f"without the unimportant the output moves {ci:.2g} nats ({_share(ci, zero):.1%} of zero ablation)"
    met: bool | None = None
    if attack is not None:
        steps, kl = attack
        said += f"; {steps} adversarial steps move it {kl:.2g} ({_share(kl, zero):.1%})"
        withstood = kl <= ATTACK_SHARE * zero
        # Fewer steps than the bar's can only break it, more can only clear it.
        if withstood == (steps >= ATTACK_STEPS) or steps == ATTACK_STEPS:
            met = withstood
    met = met if ci <= CI_SHARE * zero else False
    bar = f"of the KL of zero ablation: CI as mask ≤ {CI_SHARE:.0%}, {ATTACK_STEPS} PGD steps ≤ {ATTACK_SHARE:.0%}"
    return _finding(Check.MECHANISTIC_FAITHFULNESS, met, said, bar)


def simplicity(measured: Measured) -> Finding:
    """Whether a subcomponent is one thing: rank one by construction, one direction of it, on or off."""
    habits = measured.habits
    return _finding(
        Check.SIMPLICITY,
        habits.bipolar <= BIPOLAR_SHARE and habits.half_on <= HALF_ON_SHARE,
        f"each is one rank-one matrix; {1 - habits.bipolar:.0%} of the alive work in one direction of what they "
        f"read, {habits.half_on:.1%} are always half on. `rankone compare` tells whether another seed finds them too",
        f"bipolar ≤ {BIPOLAR_SHARE:.0%}, always half on ≤ {HALF_ON_SHARE:.0%} of the alive",
    )


def ci_collapse(measured: Measured) -> Finding:
    """Importances have gone to zero: nothing is left on, and CI as mask is near zero ablation."""
    sites = max(len(measured.per_site), 1)
    share, l0 = (
        _share(kl_of(measured.rows, Masking.CI), kl_of(measured.rows, Masking.ZERO)),
        measured.l0_total / sites,
    )
    return _finding(
        Check.CI_COLLAPSE,
        share <= COLLAPSED_SHARE and l0 >= COLLAPSED_L0,
        f"CI as mask does {share:.1%} of the harm of zero ablation; {l0:.2g} subcomponents per site are needed",
        f"> {COLLAPSED_SHARE:.0%} of zero ablation's KL, or L0 < {COLLAPSED_L0} per site: lower the importance coefficient",
    )


def too_dense(measured: Measured) -> Finding:
    """Too many of the alive are needed at each position."""
    share = measured.l0_total / max(measured.alive_total, 1)
    return _finding(
        Check.TOO_DENSE,
        share <= DENSE_SHARE,
        f"{share:.1%} of the alive subcomponents are needed at a position",
        f"L0 > {DENSE_SHARE:.0%} of the alive: raise the importance coefficient, or train longer",
    )


def polysemantic(measured: Measured) -> Finding:
    """Subcomponents that do several jobs: used in both directions, or half on wherever they are."""
    bipolar, half_on = measured.habits.bipolar, measured.habits.half_on
    return _finding(
        Check.POLYSEMANTIC,
        bipolar <= BIPOLAR_SHARE and half_on <= HALF_ON_SHARE,
        f"{bipolar:.1%} of the alive are bipolar, {half_on:.1%} always half on",
        f"bipolar > {BIPOLAR_SHARE:.0%} or always half on > {HALF_ON_SHARE:.0%}: raise the frequency coefficient",
    )


def under_trained(measured: Measured) -> Finding:
    """Importances have not decided yet: much of them is neither near 0 nor near 1, or rounding them costs."""
    middle = measured.habits.undecided
    ci, rounded = kl_of(measured.rows, Masking.CI), kl_of(measured.rows, Masking.ROUNDED, threshold=0.5)
    loss = (rounded - ci) / ci if ci > 0 else 0.0
    return _finding(
        Check.UNDER_TRAINED,
        middle <= UNDECIDED_SHARE and loss <= ROUNDING_LOSS,
        f"{middle:.1%} of the importance lies between .05 and .95; rounding it at .5 changes the KL by {loss:+.0%}",
        f"> {UNDECIDED_SHARE:.0%} between, or rounding adds > {ROUNDING_LOSS:.0%}: train longer, sharpen further",
    )


def dead_layer(measured: Measured) -> Finding:
    """A layer in which next to nothing is alive or needed."""
    layers = measured.per_layer
    mean = sum(layer.l0 for layer in layers) / max(len(layers), 1)
    dead = [
        layer.layer
        for layer in layers
        if layer.alive < DEAD_ALIVE * layer.subcomponents or layer.l0 < DEAD_L0 * mean or mean == 0
    ]
    said = (
        f"layers {', '.join(dead)}"
        if dead
        else f"every one of {len(layers)} layers has parts that are needed"
    )
    return _finding(
        Check.DEAD_LAYER,
        not dead,
        said,
        f"alive < {DEAD_ALIVE:.0%} of its subcomponents, or L0 < {DEAD_L0:.0%} of the mean layer's",
    )


def weak_adversary(measured: Measured) -> Finding:
    """The attack was still growing when it ended, so that the ladder's last figure bounds nothing."""
    rungs = _rungs(measured)
    bar = f"KL grew by more than {GROWTH - 1:.0%} over the last rung: give it more --steps"
    if len(rungs) < 2:
        return _finding(Check.WEAK_ADVERSARY, None, "one rung shows no growth", bar)
    (before, low), (last, high) = rungs[-2:]
    growth = high / low if low > 0 else float("inf") if high > 0 else 1.0
    said = f"from {before} to {last} steps the KL went from {low:.2g} to {high:.2g}"
    return _finding(Check.WEAK_ADVERSARY, growth <= GROWTH, said, bar)


def overfitted_adversary(measured: Measured) -> Finding:
    """Training held out against its own ablations and not against an attack: the adversary of training was weak."""
    bar = f"the longest attack's KL > {OVERFIT:.0f} × the stochastic: train against a stronger adversary"
    rungs, stochastic = _rungs(measured), kl_of(measured.rows, Masking.STOCHASTIC)
    if not rungs or stochastic <= 0:
        return _finding(
            Check.OVERFITTED_ADVERSARY, None, "no attack, or no stochastic error, to compare", bar
        )
    steps, kl = rungs[-1]
    said = f"random ablation costs {stochastic:.2g} nats, {steps} adversarial steps {kl:.2g}"
    return _finding(Check.OVERFITTED_ADVERSARY, kl <= OVERFIT * stochastic, said, bar)


def no_better_than_its_basis(measured: Measured) -> Finding:
    """What matters to a domain is no more specific to it than the neuron it is closest to, or another source of directions
    has better ones."""
    bar = (
        f"in MLPs {SPECIFIC:g} times as specific as the neuron it is closest to, in MLP and attention alike the best above "
        "the best neurons or channels, singular and contrast directions: price what parts read out of place"
    )
    basis = measured.privileged_basis
    kinds = {row.kind: row for row in basis.kinds} if basis is not None else {}
    broad = [kinds[kind] for kind in ("mlp", "attention") if kind in kinds]
    if not broad:
        return _finding(Check.NO_BETTER_THAN_ITS_BASIS, None, "no text of several domains", bar)
    said, met = [], True
    for row in broad:
        others = {"raw": row.best_raw, "singular": row.best_singular, "contrast": row.best_contrast}
        best = max(others, key=lambda source: others[source])
        met &= row.best_parts > others[best]
        met &= row.kind != "mlp" or row.ratio_by_importance >= SPECIFIC
        said.append(
            f"{row.kind}: {row.ratio_by_importance:.2f} times its raw coordinate, the best {row.best_parts:.2f} "
            f"against {others[best]:.2f} ({best})"
        )
    return _finding(Check.NO_BETTER_THAN_ITS_BASIS, met, "; ".join(said), bar)


PROPERTIES: tuple[Callable[[Measured], Finding], ...] = (
    faithfulness,
    minimality,
    mechanistic_faithfulness,
    simplicity,
)
FAILURES: tuple[Callable[[Measured], Finding], ...] = (
    ci_collapse,
    too_dense,
    polysemantic,
    under_trained,
    dead_layer,
    weak_adversary,
    overfitted_adversary,
    no_better_than_its_basis,
)


def _finding(name: Check, met: bool | None, said: str, bar: str) -> Finding:
    return Finding(name=name, met=met, said=said, bar=bar)


def _rungs(measured: Measured) -> list[tuple[int, float]]:
    """(steps, KL) of the ladder with delta off, shortest first."""
    ladder = measured.adversary.ladder
    rows = {row.steps: row.kl for row in measured.rows if row.steps is not None and row.delta is False}
    return sorted((steps, rows[steps]) for steps in ladder if steps in rows)


def _attack(measured: Measured, steps: int) -> tuple[int, float] | None:
    """The rung nearest to `steps`; the longer of two equally near."""
    rungs = _rungs(measured)
    return min(rungs, key=lambda rung: (abs(rung[0] - steps), -rung[0])) if rungs else None


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
