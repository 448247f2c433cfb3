"""Sharpening: a part's read direction refitted in closed form, so that it answers less to text that is not its target.

With C_off the second moment of the site's input on other text and C_on that on the target's,
    v′ = s (C_off + ρ · tr(C_off)/d · I)⁻¹ v,   s = (vᵀ C_on w) / (wᵀ C_on w) for w = v′/s,
which is the least squares fit of v·x by a multiple of w·x on target text: what the part does there stays, what leaks into
other text shrinks. The write direction is kept. Needs no training; some thousand tokens of text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.edits.requests import Sharpened, SharpenReply, SharpenRequest
from rankone.models.sites import sites_named
from rankone.parts.book import Named
from rankone.parts.moments import Moments, collect_moments, combined
from rankone.parts.naming import require_written
from rankone.parts.origins import SHARPENED, origin_in
from rankone.parts.parts import FactorPair, Parts
from rankone.parts.ridge import RIDGE
from rankone.text.corpus import require_domain
from rankone.workspace import Workspace


def sharpened_read(
    read: Float[Tensor, " d"],
    target: Float[Tensor, "d d"],
    others: Float[Tensor, "d d"],
    ridge: float = RIDGE,
) -> Float[Tensor, " d"]:
    """v′ for a read direction v, from the second moments on target text (`own`) and on other text (float64 inside)."""
    wide, on, off = read.double(), target.double(), others.double()
    level = ridge * off.diagonal().mean().clamp_min(1e-20)
    direction = torch.linalg.solve(off + level * torch.eye(len(off)).to(off), wide)
    seen = on @ direction
    energy = (direction * seen).sum()
    if not energy > 0:
        raise RankOneError("the part does not answer to the target text at all: there is nothing to keep.")
    return ((wide * seen).sum() / energy * direction).to(read)


def refitted(parts: Parts, of: str, target: Moments, others: Moments, ridge: float = RIDGE) -> Parts:
    """The same parts with read directions that answer less to other text: `sharpened-neuron-fr/SITE:NUMBER`.

    Of subcomponents, whose names have no origin, `sharpened-fr/SITE:NUMBER`. of: the target's name; others: the mean of the
    moments on other text. RankOneError for a part that does not answer to the target text.
    """
    factors: dict[str, FactorPair] = {}
    for site in parts.sites:
        read, write = (f.detach().float() for f in parts.factors(site))
        on, off = target[site].input_second(), others[site].input_second()
        factors[site] = (torch.stack([sharpened_read(v, on, off, ridge) for v in read.T], dim=1), write)
    origin = "-".join(word for word in (SHARPENED, parts.origin, of) if word)
    return Parts(factors, origin, parts.indices, {**parts.made, "of": of, "ridge": ridge}).frozen()


def sharpen(
    workspace: Workspace, request: SharpenRequest, parts: Named | None = None
) -> tuple[list[Parts], SharpenReply]:
    """The named parts with their read directions refitted, a set per origin (`refitted`), and what changed, as named.

    parts: where the names are looked up; the workspace's unless given. Raises RankOneError for unknown parts and domains.
    """
    known = parts or workspace.require_parts()
    against = request.against or tuple(d for d in workspace.corpus.domains() if d != request.of)
    for domain in (request.of, *against):
        require_domain(workspace.corpus, domain)
    if not against:
        raise RankOneError(f"sharpening for '{request.of}' needs other domains to sharpen against.")
    target, others = _moments(workspace, request, against, [known.locate(name)[0] for name in request.names])
    made: list[Parts] = []
    rows: dict[str, Sharpened] = {}
    for origin in dict.fromkeys(map(origin_in, request.names)):
        old = _gathered(known, [name for name in request.names if origin_in(name) == origin])
        new = refitted(old, request.of, target, others, request.ridge)
        for before, after in zip(old.names(), new.names(), strict=True):
            site, _ = old.locate(before)
            seen = target[site].input_second(), others[site].input_second()
            rows[before] = _compared(after, old.vectors(before).v, new.vectors(after).v, *seen)
        made.append(new)
    return made, SharpenReply(
        of=request.of, against=against, parts=tuple(rows[name] for name in request.names)
    )


def _gathered(parts: Named, names: Sequence[str]) -> Parts:
    """Parts of one origin, looked up wherever they are, as a set of their own."""
    sites: dict[str, list[str]] = {}
    for name in names:
        sites.setdefault(parts.locate(name)[0], []).append(name)
    pairs = {site: [parts.vectors(name) for name in at] for site, at in sites.items()}
    factors = {
        s: (torch.stack([v for v, _ in p], dim=1), torch.stack([u for _, u in p])) for s, p in pairs.items()
    }
    numbers = {s: torch.tensor([require_written(name)[1] for name in at]) for s, at in sites.items()}
    return Parts(factors, origin_in(names[0]), numbers, {"source": SHARPENED, "from": list(names)})


def _moments(
    workspace: Workspace, request: SharpenRequest, against: tuple[str, ...], sites: list[str]
) -> tuple[Moments, Moments]:
    """Moments on the target's text, and the mean of those on the others, each domain with the same weight."""
    chosen = list(sites_named(workspace.model, sorted(set(sites))).values())

    def collected(domain: str) -> Mapping:
        text = workspace.blocks(domain, "train", request.tokens)
        return collect_moments(workspace.model, chosen, text.ids, text.present, side="input")

    others = [collected(domain) for domain in against]
    return collected(request.of), combined(others, [1.0] * len(others))


def _compared(
    name: str, old: Tensor, new: Tensor, on: Float[Tensor, "d d"], off: Float[Tensor, "d d"]
) -> Sharpened:
    def size(v: Tensor, second: Tensor) -> float:
        return float((v * (second @ v)).sum().clamp_min(0).sqrt())

    return Sharpened(
        name=name,
        leak_before=size(old, off) / max(size(old, on), 1e-20),
        leak_after=size(new, off) / max(size(new, on), 1e-20),
        cosine=float(torch.cosine_similarity(old, new, dim=0)),
        fidelity=float((old * (on @ new)).sum()) / max(size(old, on) * size(new, on), 1e-20),
    )
