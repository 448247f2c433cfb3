"""How near a decomposition comes to mechanisms that are known: the metrics of toy targets.

A site whose truth is one subcomponent per feature has, per feature i, a read and a write direction; with only feature i
active exactly one subcomponent, another for each i, should be important. A site whose truth is dense (all features pass
through all of its few dimensions) should keep as many subcomponents as it has dimensions, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rankone.core.config import Record
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.decomposition.site import delta_of, site_weight
from rankone.models.sites import find_sites
from rankone.models.toys.targets import TMS, ResidMLP

MAGNITUDE = 0.75  # of the one active feature
TOLERANCE = 0.1  # by which an importance may miss 0 or 1


@dataclass(frozen=True)
class SiteTruth:
    """Directions per feature, or the number of dense dimensions.

    read: true v per feature, in the coordinates of `inputs` if given: the directions the site's inputs lie along, outside
    of whose span nothing tells one v from another.
    """

    read: Float[Tensor, "n k"] | None = None
    write: Float[Tensor, "n d_out"] | None = None
    inputs: Float[Tensor, "k d_in"] | None = None
    dense: int | None = None


class SiteScore(Record):
    """One site against its truth: one subcomponent per feature (dense None), or so many dense dimensions.

    errors: importances farther than 0.1 from the true pattern. per_feature: mean number of subcomponents with importance
    over 0.1 when one feature is active. read, write: mean |cos| of the matched subcomponents with the true directions
    (None where the truth is dense). remainder: ‖Δ‖² / ‖W‖².
    """

    site: str
    dense: int | None
    errors: int
    per_feature: float
    alive: int
    read: float | None
    write: float | None
    remainder: float


def truth_of(target: TMS | ResidMLP) -> dict[str, SiteTruth]:
    """The true mechanisms of every site of a toy target, by site name."""
    weights = {site.name: site_weight(site) for site in find_sites(target)}
    if isinstance(target, TMS):
        first, *middle, last = weights
        one_hot, columns = torch.eye(weights[first].shape[1]), weights[first].T
        dense = {name: SiteTruth(dense=columns.shape[1]) for name in middle}
        return {first: SiteTruth(one_hot, columns)} | dense | {last: SiteTruth(columns, one_hot)}
    truths = {}
    for name, weight in weights.items():
        if name.endswith("mlp_in"):
            one_hot = torch.eye(len(target.embedding))
            truths[name] = SiteTruth(one_hot, target.embedding @ weight.T, target.embedding)
        else:
            truths[name] = SiteTruth(dense=weight.shape[1])
    return truths


def single_feature_importance(model: DecomposedModel, features: int) -> Float[Tensor, "n c"]:
    """Importance of every subcomponent with only feature i active, at 0.75; one row per feature."""
    return model.importance(MAGNITUDE * torch.eye(features).unsqueeze(1)).squeeze(1)


def matched(importance: Float[Tensor, "n c"]) -> Int[Tensor, " n"]:
    """A column for every row, each used once, of the largest sum of entries (Kuhn and Munkres); C must be at least n."""
    _, columns = linear_sum_assignment(importance.cpu().numpy(), maximize=True)
    return torch.from_numpy(columns)


def identity_errors(importance: Float[Tensor, "n c"], columns: Int[Tensor, " n"]) -> int:
    """Entries farther than the tolerance from 1 at the matched column of each row and 0 elsewhere."""
    pattern = F.one_hot(columns, importance.shape[1]).float()
    return int(((importance - pattern).abs() > TOLERANCE).sum())


def dense_errors(importance: Float[Tensor, "n c"], dense: int) -> int:
    """Entries over the tolerance outside the `dense` heaviest columns, and those of them that no feature uses."""
    on = importance > TOLERANCE
    order = importance.sum(0).argsort(descending=True)
    return int(on[:, order[dense:]].sum() + (~on[:, order[:dense]].any(0)).sum())


def site_score(
    name: str,
    truth: SiteTruth,
    importance: Float[Tensor, "n c"],
    factors: tuple[Float[Tensor, "d_in c"], Float[Tensor, "c d_out"]],
    weight: Float[Tensor, "d_out d_in"],
) -> SiteScore:
    """One site's score from its importances for single features, its factors and the target's weight."""
    on = importance > TOLERANCE
    read = write = None
    if truth.dense is not None:
        errors = dense_errors(importance, truth.dense)
    else:
        assert truth.read is not None
        assert truth.write is not None
        columns = matched(importance)
        errors = identity_errors(importance, columns)
        read_vectors = factors[0][:, columns].T
        read_vectors = read_vectors if truth.inputs is None else read_vectors @ truth.inputs.T
        read = F.cosine_similarity(read_vectors, truth.read).abs().mean().item()
        write = F.cosine_similarity(factors[1][columns], truth.write).abs().mean().item()
    share = delta_of(weight, *factors).square().sum() / weight.square().sum()
    return SiteScore(
        site=name,
        dense=truth.dense,
        errors=errors,
        per_feature=on.sum(1).float().mean().item(),
        alive=int(on.any(0).sum()),
        read=read,
        write=write,
        remainder=share.item(),
    )


def score(target: TMS | ResidMLP, decomposition: Decomposition, features: int) -> list[SiteScore]:
    """The score of every decomposed site."""
    truths = truth_of(target)
    with torch.no_grad(), DecomposedModel(target, decomposition) as model:
        importances = single_feature_importance(model, features).split(decomposition.counts, -1)
    weights = {site.name: site_weight(site) for site in find_sites(target, decomposition.sites)}
    scores = []
    for name, importance in zip(decomposition.sites, importances, strict=True):
        read, write = decomposition.factors(name)
        pair = (read.detach(), write.detach())
        scores.append(site_score(name, truths[name], importance, pair, weights[name]))
    return scores
