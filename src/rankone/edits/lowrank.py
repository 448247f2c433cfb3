"""The one edit type: W' = W + write @ read at some sites.

A set of scales α on subcomponents u vᵀ is the edit with columns (α − 1) u and rows vᵀ; a LoRA is one with
columns B and rows A; an ablated direction is one with −v and vᵀ W. All are applied, removed, added, merged,
saved and exported (export.py) by the same few functions.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankone.core.artifact import new_artifact, open_artifact, write_json
from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest
from rankone.core.tensors import read_tensors, save_tensors, tensor_hash
from rankone.models.sites import Site, sites_named, weight_of

KIND = "edit"
TENSORS = "tensors.safetensors"


class Factors(NamedTuple):
    """The change write @ read of one weight; r is its rank (0 is allowed and changes nothing)."""

    write: Float[Tensor, "d_out r"]
    read: Float[Tensor, "r d_in"]

    def product(self, like: Tensor) -> Float[Tensor, "d_out d_in"]:
        """write @ read in the dtype and on the device of `like`."""
        return self.write.to(like) @ self.read.to(like)


@dataclass(frozen=True)
class SiteMerge:
    """What rounding to the merged dtype left of one site's change ΔW.

    The realised change is W' − W, both rounded to that dtype. `norm_ratio` is ‖realised‖ / ‖ΔW‖ (rounding
    noise can lift it above 1) and `survived` is ⟨realised, ΔW⟩ / ‖ΔW‖², the share of ΔW itself that arrived.
    Both are 1 where ΔW = 0.
    """

    name: str
    entries: int
    changed: int
    norm_ratio: float
    survived: float


@dataclass(frozen=True)
class MergeReport:
    """Dtype of the merged weights and one line per site."""

    dtype: str
    sites: tuple[SiteMerge, ...]

    @property
    def worst(self) -> float:
        """The smallest `survived` of all sites."""
        return min((site.survived for site in self.sites), default=1.0)

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


class Merged(NamedTuple):
    """A merged model and what the merge did."""

    model: nn.Module
    report: MergeReport


class _Attachment(NamedTuple):
    edit: LowRankEdit
    originals: dict[str, Tensor]


class _SiteEntry(Config):
    d_out: int
    d_in: int
    rank: int
    base_hash: str


class _EditFile(Config):
    description: str
    method: str
    sites: dict[str, _SiteEntry]


# Edits now attached to a model, oldest first; gone with the model. A copied model starts with none.
_ATTACHED: WeakKeyDictionary[nn.Module, list[_Attachment]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False, init=False)
class LowRankEdit:
    """An immutable low-rank change of some sites; `base` holds the hash of each weight it was made for.

    `factors` maps a site's module path to (write [d_out, r], read [r, d_in]); they are copied and kept in
    fp32 or fp64. Raises RankOneError for wrong shapes, integer factors, NaN and infinity.
    """

    factors: Mapping[str, Factors]
    description: str
    method: str
    base: Mapping[str, str]

    def __init__(
        self,
        factors: Mapping[str, tuple[Tensor, Tensor]],
        description: str = "",
        method: str = "",
        base: Mapping[str, str] | None = None,
    ) -> None:
        checked = {name: _checked(name, *pair) for name, pair in sorted(factors.items())}
        unknown = sorted(set(base or ()) - set(checked))
        if unknown:
            raise RankOneError(f"base hash given for '{unknown[0]}', which the edit does not change.")
        values = {"factors": checked, "description": description, "method": method, "base": dict(base or {})}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def sites(self) -> tuple[str, ...]:
        """Module paths of the sites it changes, sorted."""
        return tuple(self.factors)

    def rank(self, site: str) -> int:
        """Number of rank-one terms at a site; RankOneError for one it does not change."""
        if site not in self.factors:
            raise RankOneError(f"the edit does not change '{site}'.{nearest(site, list(self.factors))}")
        return self.factors[site].write.shape[1]

    def scaled(self, factor: float) -> LowRankEdit:
        """The edit with every ΔW multiplied by `factor` (0 undoes it, −1 inverts it)."""
        factors = {name: Factors(f.write * factor, f.read) for name, f in self.factors.items()}
        return replace(self, factors=factors)

    def __add__(self, other: LowRankEdit) -> LowRankEdit:
        """Both changes at once (factors concatenated); RankOneError if made for different weights."""
        if not isinstance(other, LowRankEdit):
            return NotImplemented
        for name in sorted(self.base.keys() & other.base.keys()):
            if self.base[name] != other.base[name]:
                raise RankOneError(
                    f"the edits were made for different weights at '{name}' and cannot be added."
                )
        factors = {**other.factors, **self.factors}
        for name in self.factors.keys() & other.factors.keys():
            factors[name] = _concatenated(self.factors[name], other.factors[name])
        return LowRankEdit(
            factors,
            description=_joined(self.description, other.description),
            method=_joined(self.method, other.method),
            base={**other.base, **self.base},
        )

    def bind(self, model: nn.Module) -> LowRankEdit:
        """The same edit with the hashes of this model's weights, which `save` and `check_base` need."""
        sites = self._sites(model)
        return replace(self, base={name: _base_hash(model, site) for name, site in sites.items()})

    def check_base(self, model: nn.Module) -> None:
        """Raise RankOneError unless this model's weights (without attached edits) are those it was made for.

        Weights are compared as fp32, so a checkpoint in bf16 is the same model when loaded as fp32.
        """
        sites = self._sites(model)
        unbound = [name for name in sites if name not in self.base]
        if unbound:
            raise RankOneError(f"the edit knows no base weight for '{unbound[0]}': call bind(model) first.")
        different = [name for name, site in sites.items() if _base_hash(model, site) != self.base[name]]
        if different:
            raise RankOneError(
                f"the edit was made for another model: the weight of '{different[0]}' differs "
                f"({len(different)} of {len(sites)} sites). Load the model it was made for."
            )

    def attach(self, model: nn.Module) -> None:
        """Change the model's weights in place until `remove`; attaching twice adds the change twice.

        Sums are formed in fp32 (or wider) and rounded to the weight's dtype. Raises RankOneError, with
        nothing changed, when a site is missing, a shape does not fit or a result is not finite.
        """
        sites = self._sites(model)
        for name, site in sites.items():
            _edited(site, self.factors[name])
        originals = {name: weight_of(site).clone() for name, site in sites.items()}
        for name, site in sites.items():
            weight_of(site).copy_(_edited(site, self.factors[name]))
        _ATTACHED.setdefault(model, []).append(_Attachment(self, originals))

    def remove(self, model: nn.Module) -> None:
        """Put back, bit for bit, the weights from before `attach`; RankOneError in the wrong order."""
        stack = _ATTACHED.get(model, [])
        if not any(attachment.edit is self for attachment in stack):
            raise RankOneError(f"{self._label()} is not attached to this model.")
        if stack[-1].edit is not self:
            raise RankOneError(
                f"{stack[-1].edit._label()} was attached after {self._label()}: remove it first. "
                "Edits come off in the reverse order."
            )
        for name, site in self._sites(model).items():
            weight_of(site).copy_(stack[-1].originals[name])
        stack.pop()

    @contextmanager
    def apply(self, model: nn.Module) -> Iterator[None]:
        """Attach while the block runs; the weights are back bit for bit after it, also after an exception."""
        self.attach(model)
        try:
            yield
        finally:
            self.remove(model)

    def merge(self, model: nn.Module, dtype: torch.dtype | None = None, in_place: bool = False) -> Merged:
        """Make the change permanent in a copy of the model (or in itself), with all weights in `dtype`.

        Sums are formed in fp32 before rounding. Raises RankOneError, with nothing written, for a tied or
        missing site, a result that is not finite, a different base or a model with edits attached.
        """
        refuse_attached(model)
        sites = self._sites(model)
        if self.base:
            self.check_base(model)
        merged = {name: _edited(site, self.factors[name], dtype) for name, site in sites.items()}
        lines = tuple(_measure(site, self.factors[name], merged[name]) for name, site in sites.items())
        target = model if in_place else copy.deepcopy(model)
        if dtype is not None:
            cast_parameters(target, dtype)
        for name, site in sites_named(target, self.sites).items():
            weight_of(site).copy_(merged[name])
        label = dtype if dtype is not None else next(model.parameters()).dtype
        return Merged(target, MergeReport(str(label).removeprefix("torch."), lines))

    def save(self, path: Path | str, provenance: dict[str, Any] | None = None) -> Path:
        """Write the edit as an artefact of kind 'edit'; RankOneError when it is not bound to a model."""
        unbound = [name for name in self.sites if name not in self.base]
        if unbound:
            raise RankOneError(
                f"the edit knows no base weight for '{unbound[0]}': call bind(model) before save."
            )
        entries = {}
        for name, f in self.factors.items():
            (d_out, rank), d_in = f.write.shape, f.read.shape[1]
            entries[name] = {"d_out": d_out, "d_in": d_in, "rank": rank, "base_hash": self.base[name]}
        tensors = {f"{n}.{part}": t for n, f in self.factors.items() for part, t in f._asdict().items()}
        with new_artifact(path, KIND, provenance) as staging:
            save_tensors(staging / TENSORS, tensors)
            config = {"description": self.description, "method": self.method, "sites": entries}
            write_json(staging / "config.json", config)
        return Path(path)

    @classmethod
    def load(cls, path: Path | str) -> LowRankEdit:
        """Read a saved edit; RankOneError when a file was altered or its parts do not fit together."""
        artifact = open_artifact(path, KIND)
        where = str(artifact.path / "config.json")
        config = _EditFile.checked(artifact.json(), where)
        tensors = read_tensors(artifact.path / TENSORS)
        expected = {f"{name}.{part}" for name in config.sites for part in Factors._fields}
        if expected != tensors.keys():
            raise RankOneError(
                f"{where} and {TENSORS} name different sites: {sorted(expected ^ tensors.keys())[0]}."
            )
        factors = {n: Factors(tensors[f"{n}.write"], tensors[f"{n}.read"]) for n in config.sites}
        for name, entry in config.sites.items():
            _expect_shape(name, factors[name], entry.d_out, entry.d_in)
            if factors[name].read.shape[0] != entry.rank:
                raise RankOneError(f"{where} gives rank {entry.rank} for '{name}', but {TENSORS} another.")
        base = {name: entry.base_hash for name, entry in config.sites.items()}
        return cls(factors, config.description, config.method, base)

    def _sites(self, model: nn.Module) -> dict[str, Site]:
        """The model's sites that it changes, shapes checked."""
        sites = sites_named(model, self.sites)
        for name, site in sites.items():
            _expect_shape(name, self.factors[name], site.d_out, site.d_in)
        return sites

    def _label(self) -> str:
        return f"edit '{self.description or self.method or ', '.join(self.sites)}'"


def refuse_attached(model: nn.Module) -> None:
    """Raise RankOneError while edits are attached to the model: they would be merged or exported unseen."""
    if _ATTACHED.get(model):
        raise RankOneError(
            f"{_ATTACHED[model][-1].edit._label()} is attached to this model. Remove it first; to keep both "
            "changes, add the edits (a + b)."
        )


def cast_parameters(model: nn.Module, dtype: torch.dtype) -> None:
    """Round all floating parameters to `dtype` in place; buffers (rotary tables) keep theirs."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)


def _checked(name: str, write: Tensor, read: Tensor) -> Factors:
    shapes = f"write {tuple(write.shape)}, read {tuple(read.shape)}"
    if write.ndim != 2 or read.ndim != 2 or write.shape[1] != read.shape[0]:
        raise RankOneError(f"factors of '{name}' do not fit: {shapes}; expected [d_out, r] and [r, d_in].")
    if not (write.is_floating_point() and read.is_floating_point()):
        raise RankOneError(f"factors of '{name}' must be real numbers, not {write.dtype} and {read.dtype}.")
    if not (write.isfinite().all() and read.isfinite().all()):
        raise RankOneError(f"factors of '{name}' hold NaN or infinity. The fit that made them has diverged.")
    wide = torch.promote_types(torch.promote_types(write.dtype, read.dtype), torch.float32)
    return Factors(write.detach().to(wide, copy=True), read.detach().to(wide, copy=True))


def _expect_shape(name: str, factors: Factors, d_out: int, d_in: int) -> None:
    found = (factors.write.shape[0], factors.read.shape[1])
    if found != (d_out, d_in):
        raise RankOneError(
            f"the edit of '{name}' is {list(found)}, but the weight is {[d_out, d_in]}: it was made for another model. "
            "Give the one it was made for."
        )


def _concatenated(first: Factors, second: Factors) -> Factors:
    write = torch.cat((first.write, second.write.to(first.write.device)), dim=1)
    return Factors(write, torch.cat((first.read, second.read.to(first.read.device)), dim=0))


def _joined(*parts: str) -> str:
    return " + ".join(part for part in parts if part)


def _wide_weight(site: Site, factors: Factors) -> Float[Tensor, "d_out d_in"]:
    weight = weight_of(site)
    return weight.to(torch.promote_types(weight.dtype, factors.write.dtype))


def _edited(site: Site, factors: Factors, dtype: torch.dtype | None = None) -> Float[Tensor, "d_out d_in"]:
    """W + write @ read, summed in at least fp32, rounded to `dtype` (None: the weight's), finite."""
    wide = _wide_weight(site, factors)
    result = (wide + factors.product(wide)).to(dtype or weight_of(site).dtype)
    if not result.isfinite().all():
        cause = "the weight itself is not finite" if not wide.isfinite().all() else "the change is too large"
        raise RankOneError(f"editing '{site.name}' gives NaN or infinity in {result.dtype}: {cause}.")
    return result


def _measure(site: Site, factors: Factors, merged: Float[Tensor, "d_out d_in"]) -> SiteMerge:
    wide = _wide_weight(site, factors)
    intended = factors.product(wide)
    realised = merged.to(wide.dtype) - wide.to(merged.dtype).to(wide.dtype)
    norm = intended.norm()
    ratio, survived = (
        (realised.norm() / norm, (realised * intended).sum() / norm**2) if norm > 0 else (1.0, 1.0)
    )
    changed = int(realised.count_nonzero())
    return SiteMerge(site.name, merged.numel(), changed, float(ratio), float(survived))


def _base_hash(model: nn.Module, site: Site) -> str:
    """Hash of a site's weight as fp32, seen under whatever edits are attached now."""
    kept: Iterable[Tensor] = (
        attachment.originals[site.name]
        for attachment in _ATTACHED.get(model, [])
        if site.name in attachment.originals
    )
    return tensor_hash(next(iter(kept), weight_of(site)).to(torch.float32))
