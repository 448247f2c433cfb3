"""Whether a decomposition beats the basis it could have been read off: its parts against raw neurons and channels.

A direction v that a site reads is *specific* to a domain by

    root mean square of v · x on the domain / the highest root mean square on any other domain

which an edit feels, since it scales u vᵀ at every position, whatever the importance says. From second moments of a site's
input by domain (reads.py) it is known for every direction at once. The parts that matter most to a domain stand against the
raw coordinates they are closest to (neurons of an MLP, channels of attention heads), and the best parts
of a kind of site against its best raw coordinates, singular directions and contrast directions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.decomposition.evidence.reads import read_leaks, reads_of
from rankone.decomposition.evidence.records import BasisFigures, DomainBasis, KindBasis, PrivilegedBasis
from rankone.decomposition.model import DecomposedModel
from rankone.models.anatomy import in_attention, reads_hidden
from rankone.text.blocks import Blocks

# Parts, or directions, of which the geometric mean is taken.
TOP = 20
# Mean importance on the domain from which a part is among those the best are taken from.
IN_USE = 1e-3
RULES = ("importance", "lead")
OTHERS = ("raw", "singular", "contrast")
Moments = Float[Tensor, "domains d_in d_in"]
PerDomain = Float[Tensor, "domains c"]


class SiteSpecificity(NamedTuple):
    """Specificity by domain at one site: of its parts, of the raw coordinate each is closest to, and of all directions of
    the other sources."""

    parts: PerDomain
    matched: PerDomain
    others: dict[str, PerDomain]


@torch.no_grad()
def privileged_basis(model: DecomposedModel, texts: Mapping[str, Blocks]) -> PrivilegedBasis:
    """For every kind of site and domain the specificities side by side, their geometric means over domains, and the read
    leak of every site; `texts` are blocks by domain, two or more."""
    if len(texts) < 2:
        raise RankOneError(
            f"specificity compares domains, and there is {len(texts)}. Give text of two or more."
        )
    reads, decomposition = reads_of(model, texts), model.decomposition
    sites = [
        _at_site(site, module.matrix(), decomposition.factors(site), moments)
        for site, module, moments in zip(decomposition.sites, model.modules, reads.moments, strict=True)
    ]
    importance = reads.importance.split(decomposition.counts, -1)
    rows = tuple(
        DomainBasis(
            kind=kind,
            domain=domain,
            **dict(_figures([sites[i] for i in chosen], [importance[i] for i in chosen], at)),
        )
        for kind, chosen in kinds_of(decomposition.sites).items()
        for at, domain in enumerate(texts)
    )
    return PrivilegedBasis(
        top=TOP,
        tokens={domain: blocks.tokens for domain, blocks in texts.items()},
        rows=rows,
        kinds=summary(rows),
        read_leak=read_leaks(decomposition, reads),
    )


def specificity(moments: Moments, read: Float[Tensor, "d_in c"]) -> PerDomain:
    """Of every direction to every domain; a direction that is silent everywhere has 1."""
    square = ((moments @ read) * read).sum(1).clamp_min(0)
    rms = square.sqrt() + torch.finfo(square.dtype).tiny
    others = [torch.cat((rms[:i], rms[i + 1 :])).amax(0) for i in range(len(rms))]
    return rms / torch.stack(others)


def closest(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> Int[Tensor, " c"]:
    """For every part of (V [d_in, C], U [C, d_out]) the one of another such pair with the largest |cosine| as matrices."""
    reads, other_reads = (F.normalize(pair[0].float(), dim=0) for pair in (ours, theirs))
    writes, other_writes = (F.normalize(pair[1].float(), dim=1) for pair in (ours, theirs))
    return ((reads.T @ other_reads).abs() * (writes @ other_writes.T).abs()).argmax(1)


def contrast_reads(moments: Moments, domain: int, count: int = TOP) -> Float[Tensor, "d_in k"]:
    """First eigenvectors of the domain's second moment minus the mean of the others'."""
    others = torch.cat((moments[:domain], moments[domain + 1 :])).mean(0)
    return torch.linalg.eigh(moments[domain] - others).eigenvectors.flip(1)[:, :count]


def raw_parts(name: str, weight: Float[Tensor, "d_out d_in"]) -> tuple[Tensor, Tensor]:
    """(V, U) of a site's neurons or channels: each reads, or writes, one coordinate inside its block."""
    inputs = reads_hidden(name, *weight.shape)
    one_hot = torch.eye(weight.shape[1] if inputs else weight.shape[0], device=weight.device)
    return (one_hot, weight.T) if inputs else (weight.T, one_hot)


def _at_site(
    name: str, weight: Float[Tensor, "d_out d_in"], factors: tuple[Tensor, Tensor], moments: Moments
) -> SiteSpecificity:
    raw = raw_parts(name, weight)
    of_raw = specificity(moments, raw[0])
    contrast = [specificity(moments, contrast_reads(moments, i))[i] for i in range(len(moments))]
    singular = torch.linalg.svd(weight, full_matrices=False).Vh.T
    others = {"raw": of_raw, "singular": specificity(moments, singular), "contrast": torch.stack(contrast)}
    return SiteSpecificity(specificity(moments, factors[0]), of_raw[:, closest(factors, raw)], others)


def _figures(sites: Sequence[SiteSpecificity], importance: Sequence[PerDomain], domain: int) -> BasisFigures:
    """One domain over some sites, all their parts in one."""
    parts = torch.cat([s.parts[domain] for s in sites])
    matched = torch.cat([s.matched[domain] for s in sites])
    used = torch.cat(list(importance), -1)
    row: dict[str, float] = {}
    for rule in RULES:
        top = top_parts(used, domain, rule)
        row[f"specificity_by_{rule}"] = mean_of(parts[top])
        row[f"ratio_by_{rule}"] = mean_of(parts[top] / matched[top])
    row["best_parts"] = mean_of(_best(parts[used[domain] > IN_USE]))
    for source in OTHERS:
        row[f"best_{source}"] = mean_of(_best(torch.cat([s.others[source][domain] for s in sites])))
    return BasisFigures(**row)


def top_parts(importance: PerDomain, domain: int, rule: str, count: int = TOP) -> Int[Tensor, " k"]:
    """The parts of highest mean importance on a domain (importance), or of the highest lead over all other domains."""
    order = importance[domain]
    if rule == "lead":
        order = order - torch.cat((importance[:domain], importance[domain + 1 :])).amax(0)
    return order.topk(min(count, len(order))).indices


def kinds_of(sites: Sequence[str]) -> dict[str, list[int]]:
    """Numbers of the sites in an MLP and in attention, and of those of every name."""
    kinds: dict[str, list[int]] = {}
    for number, site in enumerate(sites):
        for kind in ("attention" if in_attention(site) else "mlp", site.rsplit(".", 1)[-1]):
            kinds.setdefault(kind, []).append(number)
    return kinds


def summary(rows: Sequence[DomainBasis]) -> tuple[KindBasis, ...]:
    """Geometric means over domains, a row per kind of site."""
    kinds = []
    for kind in dict.fromkeys(row.kind for row in rows):
        values = {f: [getattr(r, f) for r in rows if r.kind == kind] for f in BasisFigures.model_fields}
        kinds.append(KindBasis(kind=kind, **{f: _geometric(v) for f, v in values.items()}))
    return tuple(kinds)


def _geometric(values: Sequence[float]) -> float:
    return math.exp(sum(math.log(v) for v in values) / len(values))


def _best(values: Float[Tensor, " c"]) -> Float[Tensor, " k"]:
    return values.topk(min(TOP, len(values))).values


def mean_of(values: Float[Tensor, " k"]) -> float:
    """Geometric mean; of nothing 1, as of directions that are alike on all domains."""
    return values.double().log().mean().exp().item() if len(values) else 1.0
