"""Sharpening: a part's read direction refitted in closed form, so that it answers less to text that is not its target.

With C_off the second moment of the site's input on other text and C_on that on the target's,
    v′ = s (C_off + ρ · tr(C_off)/d · I)⁻¹ v,   s = (vᵀ C_on w) / (wᵀ C_on w) for w = v′/s,
which is the least squares fit of v·x by a multiple of w·x on target text: what the part does there stays, what leaks into
other text shrinks. The write direction is kept. Needs no training; some thousand tokens of text.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.edits.requests import Sharpened, SharpenReply, SharpenRequest
from rankone.models.sites import sites_named
from rankone.parts.book import Named
from rankone.parts.moments import Moments, collect_moments, combined
from rankone.parts.parts import Parts
from rankone.parts.ridge import RIDGE
from rankone.text.corpus import require_domain
from rankone.workspace import Workspace

ORIGIN = "sharpened"


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


def sharpen(
    workspace: Workspace, request: SharpenRequest, parts: Named | None = None
) -> tuple[Parts, SharpenReply]:
    """The named parts with their read directions refitted, under the names `sharpened/SITE:NUMBER`, and what changed.

    parts: where the names are looked up; the workspace's unless given. Raises RankOneError for unknown parts and domains,
    and where two parts would get one name.
    """
    known = parts or workspace.require_parts()
    against = request.against or tuple(d for d in workspace.corpus.domains() if d != request.of)
    for domain in (request.of, *against):
        require_domain(workspace.corpus, domain)
    if not against:
        raise RankOneError(f"sharpening for '{request.of}' needs other domains to sharpen against.")
    places: dict[str, str] = {}
    for name in request.names:
        place = f"{known.locate(name)[0]}:{name.rpartition(':')[2]}"
        if places.setdefault(place, name) != name:
            raise RankOneError(f"'{places[place]}' and '{name}' would both become '{ORIGIN}/{place}'.")
    target, others = _moments(workspace, request, against, [known.locate(name)[0] for name in request.names])
    factors: dict[str, tuple[list[Tensor], list[Tensor], list[int]]] = {}
    rows = []
    for place, name in places.items():
        site, _, number = place.rpartition(":")
        v, u = known.vectors(name)
        on, off = target[site].input_second(), others[site].input_second()
        new = sharpened_read(v, on, off, request.ridge)
        reads, writes, numbers = factors.setdefault(site, ([], [], []))
        reads.append(new)
        writes.append(u)
        numbers.append(int(number))
        rows.append(_compared(f"{ORIGIN}/{place}", v, new, on, off))
    made = Parts(
        {s: (torch.stack(r, dim=1), torch.stack(w)) for s, (r, w, _) in factors.items()},
        ORIGIN,
        {s: torch.tensor(n) for s, (_, _, n) in factors.items()},
        {
            "source": ORIGIN,
            "from": list(places.values()),
            "of": request.of,
            "against": list(against),
            "ridge": request.ridge,
        },
    )
    return made.frozen(), SharpenReply(of=request.of, against=against, parts=tuple(rows))


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
