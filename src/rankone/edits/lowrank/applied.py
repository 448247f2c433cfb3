"""Edits applied to a model in place: a transaction, with the record of what stood there before.

What is about to be changed is recorded first; whatever stops the change half-way (an interrupt too) rolls it back. One
lock per model keeps two threads from restoring each other's weights. Before weights are put back they are compared
with those that the edit left, so that weights loaded since are not overwritten unasked.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.edits.lowrank.factors import Factors, edited_weight, fitting_sites
from rankone.models.sites import Site, sites_named, weight_of

Changed = Literal["refuse", "restore", "keep"]
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class _Application:
    """One edit (compared by identity) on one model: weights from before it, and marks of those it left."""

    edit: object
    label: str
    before: Mapping[str, Tensor]
    left: dict[str, tuple[object, ...]] = field(default_factory=dict)


@dataclass(eq=False)
class _Ledger:
    """The edits now applied to a model, oldest first, and the lock that changes of it take."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    stack: list[_Application] = field(default_factory=list)


# Gone with the model. A copied model starts with none.
_LEDGERS: WeakKeyDictionary[nn.Module, _Ledger] = WeakKeyDictionary()
_OPENING = threading.Lock()


def apply_factors(model: nn.Module, edit: object, label: str, factors: Mapping[str, Factors]) -> None:
    """Change the weights in place; RankOneError, with the model as it was, for what does not fit or cannot be written."""
    with locked(model) as ledger:
        sites = fitting_sites(model, factors)
        application = _Application(edit, label, {n: weight_of(s).clone() for n, s in sites.items()})
        ledger.stack.append(application)
        try:
            for name, site in sites.items():
                _write(site, edited_weight(site, factors[name]))
                application.left[name] = _mark(weight_of(site))
        except BaseException:
            _put_back(sites, application.before)
            ledger.stack.remove(application)
            raise


def remove_factors(model: nn.Module, edit: object, label: str, changed: Changed) -> None:
    """Put back the weights from before `apply_factors`, bit for bit; RankOneError in the wrong order or if they changed."""
    with locked(model) as ledger:
        application = _last(ledger, edit, label)
        sites = {} if changed == "keep" else _sites_of(model, application)
        if changed == "refuse":
            _refuse_changed(sites, application)
        try:
            _put_back(sites, application.before)
        except BaseException:
            _put_back(sites, application.before)
            raise
        finally:
            ledger.stack.remove(application)


@contextmanager
def applied_factors(
    model: nn.Module, edit: object, label: str, factors: Mapping[str, Factors]
) -> Generator[None]:
    """Apply while the block runs. An interrupt, wherever it comes, on the way in and out too, does not leave the edit on."""
    with locked(model) as ledger:
        depth = len(ledger.stack)

        def take_off() -> None:
            if len(ledger.stack) > depth:
                remove_factors(model, edit, label, "refuse")

        try:
            apply_factors(model, edit, label, factors)
            yield
        finally:
            try:
                take_off()
            except RankOneError:
                raise
            except BaseException:
                take_off()
                raise


@contextmanager
def locked(model: nn.Module) -> Generator[_Ledger]:
    """Hold the model against changes by other threads; the same thread may take the lock again."""
    with _OPENING:
        ledger = _LEDGERS.setdefault(model, _Ledger())
    with ledger.lock:
        yield ledger


def refuse_applied(model: nn.Module) -> None:
    """Raise RankOneError while edits are applied to the model: they would be merged or exported unseen.

    Also those applied to a part of it, or to a model that it is a part of.
    """
    modules = set(model.modules())
    for other, ledger in list(_LEDGERS.items()):
        named: dict[str, nn.Module] = dict(other.named_modules())  # pyright: ignore[reportUnknownArgumentType]
        for application in reversed(ledger.stack):
            edited = {named[name] for name in application.before if name in named}
            if other is model or not modules.isdisjoint(edited):
                raise RankOneError(
                    f"{application.label} is applied to this model. Remove it first; to keep both "
                    "changes, add the edits (a + b)."
                )


def plain_weight(model: nn.Module, site: Site) -> Tensor:
    """A site's weight [d_out, d_in] under whatever edits are applied now."""
    ledger = _LEDGERS.get(model)
    for application in ledger.stack if ledger is not None else ():
        if site.name in application.before:
            return application.before[site.name]
    return weight_of(site)


def _last(ledger: _Ledger, edit: object, label: str) -> _Application:
    if not any(application.edit is edit for application in ledger.stack):
        raise RankOneError(f"{label} is not applied to this model.")
    last = ledger.stack[-1]
    if last.edit is not edit:
        raise RankOneError(
            f"{last.label} was applied after {label}: remove it first. Edits come off in the reverse order."
        )
    return last


def _sites_of(model: nn.Module, application: _Application) -> dict[str, Site]:
    try:
        return sites_named(model, list(application.before))
    except RankOneError as error:
        raise RankOneError(
            f"a site of {application.label} was removed or replaced since it was applied ({error}) Take that back (an "
            "adapter of PEFT: unload), or remove with changed='keep' to leave the model as it is now."
        ) from error


def _refuse_changed(sites: Mapping[str, Site], application: _Application) -> None:
    changed = [name for name, site in sites.items() if _mark(weight_of(site)) != application.left[name]]
    if changed:
        raise RankOneError(
            f"the weight of '{changed[0]}' ({len(changed)} of {len(sites)} sites) was changed since {application.label} "
            "was applied (loaded, trained or cast): removing the edit would overwrite it. Remove with "
            "changed='keep' to keep the weights as they are now, or changed='restore' to have those from before."
        )


def _put_back(sites: Mapping[str, Site], before: Mapping[str, Tensor]) -> None:
    for name, site in sites.items():
        weight = weight_of(site)
        # An unwritable weight was never changed, and writing what stands there would fail again.
        if _mark(weight) != _mark(before[name]):
            weight.copy_(before[name])


def _write(site: Site, value: Tensor) -> None:
    try:
        weight_of(site).copy_(value)
    except RuntimeError as error:
        raise RankOneError(
            f"the weight of '{site.name}' cannot be written ({str(error).splitlines()[0]}). "
            "It is a view that others share; give the layer a weight of its own (weight.data.clone())."
        ) from error


def _mark(weight: Tensor) -> tuple[object, ...]:
    """Whole-number sums over the bits of a weight: equal for equal weights on any device and number of threads."""
    bits = weight.view(_BITS[weight.element_size()])
    marks: list[object] = [tuple(weight.shape), str(weight.dtype)]
    for axis in range(bits.ndim):
        sums = bits.sum(axis, dtype=torch.int64)
        places = torch.arange(1, sums.numel() + 1, device=sums.device)
        marks += [int(sums.sum()), int((sums.flatten() * places).sum())]
    return tuple(marks)
