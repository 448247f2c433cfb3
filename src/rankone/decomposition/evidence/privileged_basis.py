"""Whether a decomposition beats the basis it could have been read off: its parts against raw neurons and channels.

A direction v that a site reads is *specific* to a domain by

    root mean square of v · x on the domain / the highest root mean square on any other domain

which an edit feels, since it scales u vᵀ at every position, whatever the importance says. From second moments of a site's
input by domain it is known for every direction at once. A part stands against the raw coordinate it is closest to (largest
|cos u| · |cos v| among the aligned start's parts: neurons of an MLP, channels of attention), and the best parts of a site
against the best raw coordinates, singular directions and contrast directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.decomposition.init.initialisation import initial_factors
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.text.blocks import Blocks

TOP = 20
ROWS_AT_ONCE = 16
Moments = Float[Tensor, "domains d_in d_in"]


def specificity(moments: Moments, read: Float[Tensor, "d_in c"]) -> Float[Tensor, "domains c"]:
    """Of every direction to every domain; a direction that is silent everywhere has 1."""
    if len(moments) < 2:
        raise RankOneError(
            f"specificity compares domains, and there is {len(moments)}. Give text of two or more."
        )
    square = ((moments @ read) * read).sum(1).clamp_min(0)
    rms = square.sqrt() + torch.finfo(square.dtype).tiny
    others = torch.stack([torch.cat((rms[:i], rms[i + 1 :])).amax(0) for i in range(len(rms))])
    return rms / others


def closest(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> Int[Tensor, " c"]:
    """Of (V [d_in, C], U [C, d_out]) the part in another such pair whose rank-one matrix has the largest |cosine|."""
    reads, writes = (
        torch.nn.functional.normalize(a.double(), dim=dim) for a, dim in ((ours[0], 0), (ours[1], 1))
    )
    other_reads, other_writes = (
        torch.nn.functional.normalize(a.double(), dim=dim) for a, dim in ((theirs[0], 0), (theirs[1], 1))
    )
    return ((reads.T @ other_reads).abs() * (writes @ other_writes.T).abs()).argmax(1)


def raw_parts(name: str, weight: Float[Tensor, "d_out d_in"]) -> tuple[Tensor, Tensor]:
    """(V, U) of the site's neurons or channels."""
    return initial_factors("aligned", name, weight.cpu(), max(weight.shape), torch.Generator())


def singular_reads(weight: Float[Tensor, "d_out d_in"]) -> Float[Tensor, "d_in k"]:
    """Right singular vectors."""
    return torch.linalg.svd(weight, full_matrices=False).Vh.T


def contrast_reads(moments: Moments, domain: int, count: int = TOP) -> Float[Tensor, "d_in k"]:
    """First eigenvectors of the domain's second moment minus the mean of the others'."""
    others = torch.cat((moments[:domain], moments[domain + 1 :])).mean(0)
    return torch.linalg.eigh(moments[domain] - others).eigenvectors.flip(1)[:, :count]


@torch.no_grad()
def input_moments(
    model: DecomposedModel, texts: Mapping[str, Blocks]
) -> tuple[list[Moments], Float[Tensor, "domains c"], Float[Tensor, " c"], list[float]]:
    """(second moments of every site's input by domain, mean importance by domain, silent writing of every part and squared
    output of every site, both per position of all text)."""
    decomposition, device = model.decomposition, next(model.target.parameters()).device
    by_domain, importances = [], []
    silent, outputs, seen = torch.zeros(decomposition.total, device=device), None, 0
    norms = torch.cat([decomposition.factors(s)[1].square().sum(1) for s in decomposition.sites])
    for blocks in texts.values():
        sums, total, count = None, torch.zeros(decomposition.total, device=device), 0
        for ids, real in zip(blocks.ids.split(ROWS_AT_ONCE), blocks.present.split(ROWS_AT_ONCE), strict=True):
            real = real.to(device)
            _, inputs = model.clean(ids.to(device))
            g = decomposition.logits(inputs, real).clamp(0, 1)[real]
            own = [x[real].float() for x in inputs]
            moments = [x.T @ x for x in own]
            sums = moments if sums is None else [a + b for a, b in zip(sums, moments, strict=True)]
            written = [x @ decomposition.factors(s)[0] for s, x in zip(decomposition.sites, own, strict=True)]
            silent += (((1 - g) * torch.cat(written, 1)).square().sum(0)) * norms
            put = [(x @ m.matrix().T).square().sum() for x, m in zip(own, model.modules, strict=True)]
            outputs = put if outputs is None else [a + b for a, b in zip(outputs, put, strict=True)]
            total += g.sum(0)
            count += len(g)
        assert sums is not None
        by_domain.append([s / count for s in sums])
        importances.append(total / count)
        seen += count
    assert outputs is not None
    sites = [torch.stack(own) for own in zip(*by_domain, strict=True)]
    return sites, torch.stack(importances), silent / seen, [(o / seen).item() for o in outputs]


def top_by(
    importance: Float[Tensor, "domains c"], domain: int, rule: str, count: int = TOP
) -> Int[Tensor, " k"]:
    """The `count` parts of highest mean importance on a domain, or of the highest lead over all other domains."""
    own = importance[domain]
    if rule == "lead":
        own = own - torch.cat((importance[:domain], importance[domain + 1 :])).amax(0)
    return own.topk(min(count, len(own))).indices


def privileged_basis(
    model: DecomposedModel, texts: Mapping[str, Blocks], targets: Sequence[str] | None = None
) -> dict[str, Any]:
    """Specificity of the parts that matter most to each domain over that of the raw coordinate each is closest to; the best
    of every source of directions per kind of site; the read leak per site."""
    decomposition, names = model.decomposition, list(texts)
    moments, importance, silent, outputs = input_moments(model, texts)
    found: dict[str, Any] = {"top": TOP, "leak": _leaks(decomposition, silent, outputs), "rows": []}
    ours, raw, matched, directions = [], [], [], []
    for site, module, own in zip(decomposition.sites, model.modules, moments, strict=True):
        factors = tuple(f.detach() for f in decomposition.factors(site))
        basis = tuple(f.to(own.device) for f in raw_parts(site, module.matrix()))
        of_basis = specificity(own, basis[0])
        ours.append(specificity(own, factors[0]))
        raw.append(of_basis)
        matched.append(of_basis[:, closest(factors, basis)])
        directions.append(_directions(own, module.matrix()))
    counts = decomposition.counts
    for kind, chosen in kinds_of(decomposition.sites).items():
        picked = torch.cat([torch.full((c,), i in chosen) for i, c in enumerate(counts)]).to(
            importance.device
        )
        for domain in targets or names:
            i = names.index(domain)
            parts = torch.cat([o[i] for o in ours])[picked]
            theirs = torch.cat([m[i] for m in matched])[picked]
            row: dict[str, Any] = {"kind": kind, "domain": domain}
            for rule in ("importance", "lead"):
                top = top_by(importance[:, picked], i, rule)
                row[f"specificity_{rule}"] = _mean(parts[top])
                row[f"ratio_{rule}"] = _mean(parts[top] / theirs[top])
            alive = importance[i][picked] > 1e-3
            row["best_parts"] = _mean(_best(parts[alive]))
            row["best_raw"] = _mean(_best(torch.cat([raw[k][i] for k in chosen])))
            for source in ("singular", "contrast"):
                row[f"best_{source}"] = _mean(_best(torch.cat([directions[k][source][i] for k in chosen])))
            found["rows"].append(row)
    return found


def kinds_of(sites: Sequence[str]) -> dict[str, list[int]]:
    """Sites by what they are in: 'mlp' and 'attention', and by the last part of their names."""
    kinds: dict[str, list[int]] = {}
    for i, site in enumerate(sites):
        last = site.rsplit(".", 1)[-1]
        broad = "attention" if last in {"q_proj", "k_proj", "v_proj", "o_proj"} or ".attn" in site else "mlp"
        kinds.setdefault(broad, []).append(i)
        kinds.setdefault(last, []).append(i)
    return kinds


def _directions(moments: Moments, weight: Tensor) -> dict[str, Float[Tensor, "domains k"]]:
    own = [specificity(moments, contrast_reads(moments, i))[i] for i in range(len(moments))]
    return {"singular": specificity(moments, singular_reads(weight)), "contrast": torch.stack(own)}


def _leaks(decomposition: Decomposition, silent: Tensor, outputs: list[float]) -> list[dict[str, Any]]:
    parts = silent.split(decomposition.counts)
    return [
        {"site": s, "leak": own.sum().item() / max(out, 1e-30)}
        for s, own, out in zip(decomposition.sites, parts, outputs, strict=True)
    ]


def _best(values: Tensor) -> Tensor:
    return values.topk(min(TOP, len(values))).values


def _mean(values: Tensor) -> float:
    """Geometric mean."""
    return values.double().log().mean().exp().item() if len(values) else float("nan")
