"""`LowRankEdit`: an immutable change of some sites' weights, with its algebra and all that can be done with it."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.artifact import Provenance
from rankone.core.errors import RankOneError, nearest
from rankone.core.tensors import tensor_hash
from rankone.edits.lowrank.applied import (
    Changed,
    applied_factors,
    apply_factors,
    plain_weight,
    remove_factors,
)
from rankone.edits.lowrank.factors import Factors, checked_factors, concatenated, fitting_sites
from rankone.edits.lowrank.merging import Merged, merge_factors
from rankone.edits.lowrank.saved import KIND, EditFile, SiteEntry, read_edit, write_edit
from rankone.models.sites import Site
from rankone.sharing.fetching import local
from rankone.sharing.requests import PushReply

if TYPE_CHECKING:
    from rankone.edits.verification import Verification

_MERGED = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
_LARGEST = sys.float_info.max


@dataclass(frozen=True, eq=False, init=False, repr=False)
class LowRankEdit:
    """An immutable low-rank change of some sites; `base` holds the hash of each weight it was made for.

    `factors` maps a site's module path to (write [d_out, r], read [r, d_in]); they are copied and kept in
    fp32 or fp64. model: the one in memory that it is bound to; the edit does not keep it alive. provenance: of one that was
    read, how it was made and what was measured of it. Raises RankOneError for
    wrong shapes, integer factors, NaN and infinity. Copied or pickled it is bound to no model in memory.
    """

    factors: Mapping[str, Factors]
    description: str
    method: str
    base: Mapping[str, str]
    provenance: Provenance | None
    _model: weakref.ref[nn.Module] | None

    def __init__(
        self,
        factors: Mapping[str, tuple[Tensor, Tensor]],
        description: str = "",
        method: str = "",
        base: Mapping[str, str] | None = None,
        model: nn.Module | None = None,
        provenance: Provenance | None = None,
    ) -> None:
        checked = {name: checked_factors(name, *pair) for name, pair in sorted(factors.items())}
        unknown = sorted(set(base or ()) - set(checked))
        if unknown:
            raise RankOneError(f"base hash given for '{unknown[0]}', which the edit does not change.")
        values: dict[str, object] = {
            "factors": checked,
            "description": description,
            "method": method,
            "base": dict(base or {}),
            "provenance": provenance,
        }
        values["_model"] = None if model is None else weakref.ref(model)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_model": None}

    def __repr__(self) -> str:
        sites = ", ".join(f"{name} rank {self.rank(name)}" for name in self.sites)
        return f"LowRankEdit({self.description or self.method or 'an edit'}: {sites})"

    @property
    def sites(self) -> tuple[str, ...]:
        """Module paths of the sites it changes, sorted."""
        return tuple(self.factors)

    @property
    def model(self) -> nn.Module | None:
        """The model that it is bound to, while that is in memory."""
        return None if self._model is None else self._model()

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"edit '{self.description or self.method or ', '.join(self.sites)}'"

    def rank(self, site: str) -> int:
        """Number of rank-one terms at a site; RankOneError for one it does not change."""
        if site not in self.factors:
            raise RankOneError(f"the edit does not change '{site}'.{nearest(site, list(self.factors))}")
        return self.factors[site].write.shape[1]

    def scale(self, factor: float) -> LowRankEdit:
        """The edit with every ΔW multiplied by `factor` (0 undoes it, −1 inverts it); RankOneError for no finite number."""
        number = isinstance(factor, int | float) and not isinstance(factor, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
        if not number or not abs(factor) <= _LARGEST:
            raise RankOneError(
                f"an edit is scaled by a finite number, not {_short(factor)}: write 0.5, or -1."
            )
        factors = {name: Factors(f.write * factor, f.read) for name, f in self.factors.items()}
        said = self.description and f"{factor:g} × ({self.description})"
        return LowRankEdit(factors, said, self.method, self.base, self.model)

    def invert(self) -> LowRankEdit:
        """The edit that takes this one back: −ΔW at every site."""
        return self.scale(-1.0)

    def __add__(self, other: LowRankEdit) -> LowRankEdit:
        """Both changes at once (factors concatenated); RankOneError if made for different weights."""
        if not isinstance(other, LowRankEdit):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        for name in sorted(self.base.keys() & other.base.keys()):
            if self.base[name] != other.base[name]:
                raise RankOneError(
                    f"the edits were made for different weights at '{name}' and cannot be added. If the second "
                    "was made for the model that the first gives, write first.compose(second)."
                )
        return self.compose(other)

    def __radd__(self, nothing: int) -> LowRankEdit:
        """`sum` of edits, which begins at 0; nothing else stands before an edit."""
        return self if type(nothing) is int and nothing == 0 else NotImplemented

    def compose(self, later: LowRankEdit) -> LowRankEdit:
        """This edit, then `later`, which may be made for the model that this one gives, as one edit of this one's base."""
        require_edit(later, "compose")
        factors: dict[str, Factors] = {**later.factors, **self.factors}
        for name in self.factors.keys() & later.factors.keys():
            factors[name] = concatenated(self.factors[name], later.factors[name])
        return LowRankEdit(
            factors,
            description=_joined(self.description, later.description),
            method=_joined(self.method, later.method),
            base={**later.base, **self.base},
            model=self.model,
        )

    def bind(self, model: nn.Module) -> LowRankEdit:
        """The same edit for this model, with the hashes of its weights: what saving, `check_base` and `to_peft` need."""
        require_model(model)
        sites = fitting_sites(model, self.factors)
        hashes = {name: _base_hash(model, site) for name, site in sites.items()}
        said = self.provenance if hashes == self.base else None
        return LowRankEdit(self.factors, self.description, self.method, hashes, model, said)

    def check_base(self, model: nn.Module) -> LowRankEdit:
        """Itself; RankOneError unless this model's weights (without applied edits) are those it was made for.

        Weights are compared as fp32, so a checkpoint in bf16 is the same model when loaded as fp32.
        """
        sites = fitting_sites(model, self.factors)
        unbound = [name for name in sites if name not in self.base]
        if unbound:
            raise RankOneError(f"the edit knows no base weight for '{unbound[0]}': call bind(model) first.")
        different = [name for name, site in sites.items() if _base_hash(model, site) != self.base[name]]
        if different:
            raise RankOneError(
                f"the edit was made for another model: the weight of '{different[0]}' differs "
                f"({len(different)} of {len(sites)} sites). Load the model it was made for."
            )
        return self

    def apply(self, model: nn.Module) -> None:
        """Change the model's weights in place until `remove`; applying twice adds the change twice.

        Sums are formed in fp32 (or wider) and rounded to the weight's dtype. Raises RankOneError, with the model as
        it was, when a site is missing, a shape does not fit, a result is not finite or a weight cannot be written;
        an interrupt half-way is rolled back too.
        """
        require_model(model)
        apply_factors(model, self, self.label, self.factors)

    def remove(self, model: nn.Module, changed: Changed = "refuse") -> None:
        """Put back, bit for bit, the weights from before `apply`; RankOneError in the wrong order.

        Weights of its sites that were loaded, trained or cast since are not overwritten: `changed` says what else to
        do, 'restore' those from before the edit or 'keep' those of now.
        """
        require_model(model)
        remove_factors(model, self, self.label, changed)

    @contextmanager
    def applied(self, model: nn.Module) -> Generator[None]:
        """Apply while the block runs; the weights are back bit for bit after it, also after an exception.

        Other threads that want to edit the same model wait for the end of the block.
        """
        require_model(model)
        with applied_factors(model, self, self.label, self.factors):
            yield

    def merge(self, model: nn.Module, dtype: torch.dtype | None = None, in_place: bool = False) -> Merged:
        """Make the change permanent in a copy of the model (or in itself), with all weights in `dtype`.

        Sums are formed in fp32 before rounding. Raises RankOneError, with nothing written, for a tied or
        missing site, a result that is not finite, a different base or a model with edits applied.
        """
        require_model(model)
        if dtype is not None and not isinstance(dtype, torch.dtype):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RankOneError(f"dtype is a torch.dtype, not {dtype!r}: write torch.bfloat16.")
        if dtype is not None and dtype not in _MERGED:
            raise RankOneError(
                f"weights are not merged into {dtype}, which cannot hold them as they are. Take torch.bfloat16, float16, "
                "float32 or float64, and quantise the result."
            )
        self._require_sites()
        fitting_sites(model, self.factors)
        if self.base:
            self.check_base(model)
        return merge_factors(model, self.factors, dtype, in_place)

    def save_pretrained(
        self, path: Path | str, provenance: Provenance | None = None, replace: bool = False
    ) -> Path:
        """Write the edit as an artefact of kind 'edit'; RankOneError when it is not bound to a model.

        provenance: how it was made, and as `measured` what it does (`metrics/damage_record.py`: `measured`); of an edit that
        was read from disk, what stood there unless given. With `replace` another edit may lie there.
        """
        self._require_sites()
        unbound = [name for name in self.sites if name not in self.base]
        if unbound:
            raise RankOneError(
                f"the edit knows no base weight for '{unbound[0]}': call bind(model) before save_pretrained."
            )
        entries: dict[str, SiteEntry] = {}
        for name, f in self.factors.items():
            (d_out, rank), d_in = f.write.shape, f.read.shape[1]
            entries[name] = SiteEntry(d_out=d_out, d_in=d_in, rank=rank, base_hash=self.base[name])
        config = EditFile(description=self.description, method=self.method, sites=entries)
        write_edit(
            Path(path), config, self.factors, self.provenance if provenance is None else provenance, replace
        )
        return Path(path)

    def _require_sites(self) -> None:
        if not self.factors:
            raise RankOneError(
                "an edit of no site changes nothing: there is nothing to keep. Give at least one scale but 1."
            )

    def push_to_hub(
        self,
        repo: str,
        public: bool = False,
        message: str | None = None,
        folder: str | None = None,
        provenance: Provenance | None = None,
    ) -> PushReply:
        """Save the edit and send it to a repository of the Hub, with a card; errors as `save_pretrained`, and the Hub's.

        provenance: as of `save_pretrained`; its damage is shown in the card. folder: of a repository of several artefacts.
        """
        from rankone.sharing.pushing import push_made

        return push_made(lambda path: self.save_pretrained(path, provenance), repo, public, message, folder)

    def to_peft(self, path: Path | str, base_name: str | None = None) -> Verification:
        """Write the edit as a LoRA adapter that plain PEFT loads, and verify it by PEFT in a process of its own.

        base_name: what PEFT is to load as the base model; the name or path that the model was loaded by unless given.
        Raises RankOneError, with nothing written, where the edit is bound to no model in memory, that model has no
        name, or the adapter does not reproduce the edited model.
        """
        from rankone.edits.export import export_adapter, name_of

        model = self.model
        if not isinstance(model, PreTrainedModel):
            raise RankOneError(
                f"{self.label} is bound to no model in memory: call bind(model) before to_peft."
            )
        return export_adapter(model, self, path, base_name or name_of(model))

    @classmethod
    def from_pretrained(cls, path: Path | str) -> LowRankEdit:
        """Read a saved edit: a folder, Hub id (OWNER/NAME, or with @REVISION) or address.

        RankOneError when a file was altered or its parts do not fit together.
        """
        config, factors, provenance = read_edit(local(path, KIND))
        base = {name: entry.base_hash for name, entry in config.sites.items()}
        return cls(factors, config.description, config.method, base, provenance=provenance)


def _joined(*parts: str) -> str:
    return " + ".join(part for part in parts if part)


def _base_hash(model: nn.Module, site: Site) -> str:
    """Hash of a site's weight as fp32, seen under whatever edits are applied now."""
    return tensor_hash(plain_weight(model, site).to(torch.float32))


def require_edit(value: object, what: str) -> None:
    """RankOneError for what is not an edit: a path has to be read first."""
    if not isinstance(value, LowRankEdit):
        raise RankOneError(
            f"{what} takes an edit, not {_short(value)}: make one with session.scale, or read a saved one with "
            "LowRankEdit.from_pretrained."
        )


def _short(value: object) -> str:
    """A value for a message; a whole number of hundreds of digits by its size, a module by its class."""
    if isinstance(value, nn.Module):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return f"a whole number of {value.bit_length()} bits"
    return repr(value)


def require_model(value: object) -> None:
    """RankOneError for what is not a model."""
    if not isinstance(value, nn.Module):
        raise RankOneError(
            f"an edit changes a model (a torch.nn.Module), not {_short(value)}: of a session give session.model."
        )
