"""An investigation in plain words: which domains suffer, where the damage falls, and why others are spared.

Sentences quote tokens as they are; whoever prints them makes them inert.
"""

from __future__ import annotations

from collections.abc import Sequence

from rankone.experiments.investigation.study import SUFFERS, Finding, Investigation
from rankone.render.values import formatted, number, signed
from rankone.text.domains import domain_name

_QUOTED = 5


def summary(study: Investigation) -> list[str]:
    """A few sentences, the answer first."""
    alpha = study.strongest
    hurt = study.suffering
    spared = [f for f in study.findings if f.rises[alpha] < SUFFERS]
    if not hurt:
        return [
            f"At α = {formatted(alpha, 'g')} no domain rises by {SUFFERS} nats per token or more.",
            *_method(study),
        ]
    most, *others = hurt
    first = (
        f"At α = {formatted(alpha, 'g')} {_name(most)} loses most: {signed(most.rises[alpha], 2)} nats per token "
        f"(cross-entropy {number(most.ce, 2)} → {number(most.ce + most.rises[alpha], 2)}, chance "
        f"{number(study.chance, 2)}). {_why(most)}"
    )
    second = [
        f"{_name(f)} suffers ({signed(f.rises[alpha], 2)}): {_lower(_why(f))}{_against(f, most)}"
        for f in others
    ]
    return [first, *second, *_spared(spared, alpha, most), *_method(study)]


def _spared(spared: Sequence[Finding], alpha: float, most: Finding) -> list[str]:
    if not spared:
        return []
    parts = [
        f"{_name(f)} ({signed(f.rises[alpha])}; strongly active at {_share(f.strong)} of its tokens, energy "
        f"{_ratio(f, most)} of {_name(most)}'s)"
        for f in spared
    ]
    listed = "; ".join(parts)
    return [f"Spared (under {SUFFERS}): {listed}."]


def _why(f: Finding) -> str:
    said = f"It is strongly active at {_share(f.strong)} of the tokens"
    said += (
        f", firing on {_quoted([r.token for r in f.reads])}" if f.reads else ", and no token stands out there"
    )
    if f.where is not None:
        said += (
            f"; {_share(f.where.at)} of the damage falls on the predictions made there and {_share(f.where.near)} on the "
            "five after"
        )
    if f.lost:
        said += f"; most is lost on {_quoted([x.token for x in f.lost])}"
    return said + "."


def _against(f: Finding, most: Finding) -> str:
    """How much less of the subcomponent's work there is in this domain than in the one that loses most."""
    return f" Its energy there is {_ratio(f, most)} of that in {_name(most)}."


def _ratio(f: Finding, most: Finding) -> str:
    return _share(f.energy / most.energy) if most.energy > 0 else "–"


def _method(study: Investigation) -> list[str]:
    direct = study.direct
    if direct.raises:
        said = (
            f"Directly ({direct.way}) it raises {_quoted([t for t, _ in direct.raises])} and lowers "
            f"{_quoted([t for t, _ in direct.lowers])} where it is active; turned below α = 1, the reverse."
        )
    else:
        said = f"Direct path to the logits: {direct.way}."
    known = {a: r for a, r in study.correlations.items() if r is not None}
    if not known:
        return [said]
    order = ", ".join(f"{number(r, 2)} at α = {formatted(a, 'g')}" for a, r in known.items())
    return [
        said,
        f"The order of the damage over the {len(study.findings)} domains, predicted without turning it, correlates with the "
        f"measured one (Spearman) by {order}.",
    ]


def _quoted(tokens: Sequence[str]) -> str:
    return ", ".join(f"“{t.replace(' ', '␣')}”" for t in tokens[:_QUOTED])


def _name(f: Finding) -> str:
    return domain_name(f.domain)


def _share(value: float) -> str:
    return f"{100 * value:.0f}%" if abs(value) >= 0.095 else f"{100 * value:.1f}%"


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
