"""Which of the published claims hold here, in words; every verdict is read off the summary with its intervals.

A claim holds, or does not, only where the intervals decide; else it is open. A method that was not run leaves it unasked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from rankone.answers.language import language_of
from rankone.core.config import Record
from rankone.edits.fitting.aim import Aim
from rankone.experiments.bench.summary import Cellwise, Span, mean_damage
from rankone.experiments.measure import Rollout
from rankone.experiments.names import method_name
from rankone.experiments.tables import DAMAGE_BAR, needed_successes
from rankone.render.values import spanned
from rankone.text.domains import domain_name, written_in

Word = Literal["holds", "does not hold", "open", "not asked"]
LORAS = ("lora_r1", "lora_r4")
# A scalar is on no side of 1 where it is nearer than this.
ON_NO_SIDE = 0.01


class Verdict(Record):
    """A claim of the published experiment, what became of it here, and the figures that say so."""

    claim: str
    verdict: Word
    figures: str


class Cells:
    """Lookups in what was gathered of one retain set and stage.

    known: domains that the model was trained on; of others damage is measured and decides nothing.
    """

    def __init__(self, cells: Sequence[Cellwise], retain_set: str, aim: Aim, known: Sequence[str]) -> None:
        self.aim, self.known = aim, known
        self.at = {(c.method, c.budget): c for c in cells if c.retain_set == retain_set}
        self.methods = list(dict.fromkeys(method for method, _ in self.at))

    def budgets(self, *methods: str) -> list[int]:
        """Budgets that all of these methods ran at."""
        every = [{b for m, b in self.at if m == method} for method in methods]
        return sorted(set.intersection(*every)) if every else []

    def smallest(self, method: str) -> int | None:
        """The smallest budget at which eight of nine seeds succeed."""
        for budget in self.budgets(method):
            cell = self.at[method, budget]
            if cell.successes(self.aim) >= needed_successes(len(cell.seeds)):
                return budget
        return None

    def said(self, method: str) -> str:
        """The smallest sufficient budget in words, with its successes; where none suffices, where most seeds succeed."""
        budget = self.smallest(method)
        best = max(self.budgets(method), key=lambda b: (self.at[method, b].successes(self.aim), -b))
        cell = self.at[method, budget or best]
        where = f"from {budget:,} tokens" if budget else f"nowhere; most at {best:,}"
        return f"{method_name(method)} {where}: {cell.counted(self.aim)}"

    def counts(self, methods: Sequence[str], budget: int) -> str:
        """How many seeds of each succeed, with the intervals of the shares."""
        return "; ".join(f"{method_name(m)} {self.at[m, budget].counted(self.aim)}" for m in methods)

    def share(self, method: str, budget: int) -> tuple[float, float]:
        """Interval of the share of seeds that succeed, over seeds and text."""
        return self.at[method, budget].share(self.aim)


def judge(
    cells: Cells, rollouts: Mapping[str, Sequence[Rollout]], shown: float | None = None
) -> list[Verdict]:
    """The claims of the published experiment, in their order.

    shown: cross-entropy of the text to forget under the scalar's edit of `rollouts`; None where it is not known.
    """
    others = "the other languages and code" if cells.aim.domain != "code" else "the languages"
    claims: list[tuple[str, Callable[[], tuple[Word, str]]]] = [
        ("Top-16 scalars beat rank-1 LoRA at small budgets.", lambda: _early(cells, "top16", "lora_r1")),
        ("LoRA overtakes top-16 scalars as the budget grows.", lambda: _late(cells, "lora_r1", "top16")),
        ("With this retain set LoRA and top-16 damage other languages.", lambda: _wrecks(cells)),
        ("Code is spared by LoRA and top-16.", lambda: _spared(cells, ("top16", *LORAS), ("code",))),
        (
            "One scalar needs fewer forget tokens than LoRA.",
            lambda: _needs_less(cells, (*LORAS, "lora_r1_local")),
        ),
        ("One scalar needs fewer forget tokens than top-16 scalars.", lambda: _needs_less(cells, ("top16",))),
        ("Inverting does less damage than amplifying.", lambda: _inverting(cells)),
        (
            f"One scalar leaves {others} nearly untouched.",
            lambda: _spared(cells, ("scalar",), _others(cells)),
        ),
        ("A localised LoRA does as much damage elsewhere as LoRA everywhere.", lambda: _local(cells)),
        ("One scalar is better than parts of other sources with one scalar.", lambda: _controls(cells)),
        (
            "The edited model drops out of the language; others go on in theirs.",
            lambda: _languages(cells.aim, rollouts, shown),
        ),
    ]
    return [
        Verdict(claim=claim, verdict=word, figures=said) for claim, ask in claims for word, said in [ask()]
    ]


CONTROLS = (
    *("random", "random_part", "singular", "contrast", "discriminant"),
    *("neuron", "best_neuron", "best_channel"),
)
"""Methods with one learned number on a part that no decomposition chose."""

_UNASKED: tuple[Word, str] = ("not asked", "a method it needs was not run")


def _early(cells: Cells, one: str, other: str) -> tuple[Word, str]:
    """Whether `one` succeeds more often than `other` at budgets that are too small for the latter, else at the smallest."""
    enough, budgets = cells.smallest(other), cells.budgets(one, other)
    small = [budget for budget in budgets if enough is None or budget < enough]
    return _ahead(cells, one, other, small or budgets[:1])


def _late(cells: Cells, one: str, other: str) -> tuple[Word, str]:
    """The same at the largest shared budget."""
    return _ahead(cells, one, other, cells.budgets(one, other)[-1:])


def _ahead(cells: Cells, one: str, other: str, budgets: Sequence[int]) -> tuple[Word, str]:
    """Whether `one` succeeds more often at some of these budgets and less often at none; said of the first that decides."""
    if not budgets:
        return _UNASKED
    words: dict[int, Word] = {b: _apart(cells.share(other, b), cells.share(one, b)) for b in budgets}
    decided = [b for b in budgets if words[b] != "open"]
    budget = decided[0] if decided else budgets[0]
    agreed = len({words[b] for b in decided}) == 1
    return words[budget] if agreed else "open", f"at {budget:,} tokens: {cells.counts((one, other), budget)}"


def _apart(low: tuple[float, float], high: tuple[float, float]) -> Word:
    """Whether one interval lies below another."""
    if low[1] < high[0]:
        return "holds"
    return "does not hold" if high[1] < low[0] else "open"


def _others(cells: Cells) -> tuple[str, ...]:
    """Evaluated domains that the model knows, but the one to forget and those judged."""
    one = next(iter(cells.at.values()), None)
    seed_rows = {} if one is None else next(iter(one.seeds.values()))
    left_out = {cells.aim.domain, *cells.aim.retain}
    return tuple(d for d in seed_rows if d in cells.known and d not in left_out)


def _rise(cells: Cells, method: str, budget: int, domain: str) -> tuple[float, Span]:
    cell = cells.at[method, budget]
    return cell.mean(domain), cell.interval(domain)


def _wrecks(cells: Cells) -> tuple[Word, str]:
    """Whether the damage to some other language is over the bar, its interval too, at each one's largest budget."""
    methods = [m for m in ("top16", *LORAS) if m in cells.methods]
    languages = [d for d in _others(cells) if written_in(d) not in ("code", written_in(cells.aim.domain))]
    if not methods or not languages:
        return _UNASKED
    words, said = list[Word](), []
    for method in methods:
        budget = cells.budgets(method)[-1]
        worst = max(languages, key=lambda d: _rise(cells, method, budget, d)[0])
        mean, (low, high) = _rise(cells, method, budget, worst)
        said.append(f"{method_name(method)} at {budget:,}: {domain_name(worst)} {spanned(mean, low, high)}")
        words.append(_over(low, high, DAMAGE_BAR))
    return _all(words), "; ".join(said)


def _over(low: float | None, high: float | None, bar: float) -> Word:
    if low is None or high is None:
        return "open"
    return "holds" if low > bar else "does not hold" if high < bar else "open"


def _all(words: Sequence[Word]) -> Word:
    if all(word == "holds" for word in words):
        return "holds"
    return "does not hold" if "does not hold" in words else "open"


def _spared(cells: Cells, methods: Sequence[str], domains: Sequence[str]) -> tuple[Word, str]:
    """Whether no domain's interval reaches the bar, at each method's smallest sufficient budget, else its largest."""
    ran = [m for m in methods if m in cells.methods]
    if not ran or not domains or any(d not in _others(cells) for d in domains):
        return _UNASKED
    words, said = list[Word](), []
    for method in ran:
        budget = cells.smallest(method) or cells.budgets(method)[-1]
        worst = max(domains, key=lambda d: _rise(cells, method, budget, d)[0])
        mean, (low, high) = _rise(cells, method, budget, worst)
        over = _over(low, high, DAMAGE_BAR)
        words.append("holds" if over == "does not hold" else "does not hold" if over == "holds" else "open")
        said.append(
            f"{method_name(method)} at {budget:,}: most {domain_name(worst)} {spanned(mean, low, high)}"
        )
    return _all(words), "; ".join(said)


def _needs_less(cells: Cells, others: Sequence[str]) -> tuple[Word, str]:
    rivals = [m for m in others if m in cells.methods]
    if "scalar" not in cells.methods or not rivals:
        return _UNASKED
    said = "; ".join(cells.said(m) for m in ("scalar", *rivals))
    words = list[Word]()
    for rival in rivals:
        # Where the first of the two is enough, below which neither is.
        enough = [b for b in (cells.smallest("scalar"), cells.smallest(rival)) if b is not None]
        first = next((b for b in cells.budgets("scalar", rival) if enough and b >= min(enough)), None)
        words.append(
            "open" if first is None else _apart(cells.share(rival, first), cells.share("scalar", first))
        )
    return _all(words), said


def _inverting(cells: Cells) -> tuple[Word, str]:
    ran = [cell for (method, _), cell in cells.at.items() if method == "scalar"]
    below = [[side_of(alpha) for alpha in cell.values(cells.aim.domain, "alpha")] for cell in ran]
    if not any(below):
        return _UNASKED
    sides = {side: sum(one is side for cell in below for one in cell) for side in (True, False)}
    stayed = sum(map(len, below)) - sum(sides.values())
    counts = f"{sides[True]} runs end below α = 1, {sides[False]} above"
    counts += f", {stayed} at 1" if stayed else ""
    if not all(sides.values()):
        return "open", f"{counts}: one line alone"
    means = {
        side: mean_damage(ran, [[one is side for one in cell] for cell in below], cells.aim) for side in sides
    }
    said = "; ".join(f"{'below' if side else 'above'}: {spanned(m, *i)}" for side, (m, i) in means.items())
    (_, inverted), (_, amplified) = means[True], means[False]
    if None in inverted or None in amplified:
        return "open", f"{counts}; {said}"
    return _apart(_ends(inverted), _ends(amplified)), f"{counts}; {said}"


def side_of(alpha: float) -> bool | None:
    """Whether a scalar is below 1; None where a fit has left it."""
    return None if abs(alpha - 1) <= ON_NO_SIDE else alpha < 1


def _ends(span: Span) -> tuple[float, float]:
    return span[0] or 0.0, span[1] or 0.0


def _local(cells: Cells) -> tuple[Word, str]:
    budgets, domains = cells.budgets("lora_r1", "lora_r1_local"), _others(cells)
    if not budgets or not domains:
        return _UNASKED
    budget = budgets[-1]
    worst = max(domains, key=lambda d: _rise(cells, "lora_r1", budget, d)[0])
    rises = {m: _rise(cells, m, budget, worst) for m in ("lora_r1", "lora_r1_local")}
    said = "; ".join(f"{method_name(m)} {spanned(mean, *i)}" for m, (mean, i) in rises.items())
    (_, one), (_, two) = rises["lora_r1"], rises["lora_r1_local"]
    if None in one or None in two:
        return "open", f"{domain_name(worst)} at {budget:,} tokens: {said}"
    less = _apart(_ends(two), _ends(one))
    word: Word = "does not hold" if less == "holds" else "holds" if less == "does not hold" else "open"
    return word, f"{domain_name(worst)} at {budget:,} tokens: {said}"


def _controls(cells: Cells) -> tuple[Word, str]:
    controls = [m for m in CONTROLS if m in cells.methods]
    if "scalar" not in cells.methods or not controls:
        return _UNASKED
    budget = cells.smallest("scalar") or cells.budgets("scalar")[-1]
    ran = [m for m in controls if (m, budget) in cells.at]
    if not ran:
        return _UNASKED
    ours = cells.share("scalar", budget)
    said = f"at {budget:,} tokens: {cells.counts(('scalar', *ran), budget)}"
    return _all([_apart(cells.share(m, budget), ours) for m in ran]), said


def _languages(aim: Aim, rollouts: Mapping[str, Sequence[Rollout]], shown: float | None) -> tuple[Word, str]:
    """Whether the scalar's model writes another language where it was to forget one, and the same elsewhere.

    An edit that does not remove the language answers nothing.
    """
    texts = rollouts.get("scalar", ())
    if not texts:
        return _UNASKED
    if shown is not None and not aim.removed(shown):
        where = f"{domain_name(aim.domain)} is at {shown / aim.chance:.2f} of chance"
        return "open", f"the edit whose text is shown did not remove the language: {where}"
    words, said = list[Word](), []
    for row in texts:
        guess = language_of(f"{row.after}")
        language, meant = "unsure" if guess is None else guess.language, written_in(row.domain)
        if row.domain == aim.domain:
            words.append("holds" if language != meant else "does not hold")
        elif meant != "code":
            words.append("holds" if language == meant else "open" if guess is None else "does not hold")
        said.append(f"“{row.prompt}”: {language}")
    return _all(words), "; ".join(said)
