"""What of a forward an edit cannot reach: everything before its first site. Its outputs are computed once per text and kept.

Of the list of blocks, those before the first edited one hand on the output of the last of them; in that block every
module that ends before the first site begins gives its own. A site that reads what no site has touched keeps its input and
what the base weight makes of it, so that only the change itself is computed. The model's own forward still runs; on a few
tokens it must give the same hidden states from what was kept, or nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.edits.adapters import Change
from rankone.edits.fitting.passes.forward import LowRankChange
from rankone.models.blocks import blocks_of
from rankone.models.modules import StandIn

# What the first sites read: one input for all that are ready.
READ = "what the first sites read"


@dataclass(frozen=True)
class Untouched:
    """Paths of what an edit of some sites leaves as it is.

    before: blocks that come before the first site; the last one's output is kept. beside: modules of the first
    edited block that are through before the first site. ready: sites whose input no site has touched.
    """

    before: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    ready: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[str, ...]:
        """Modules whose output is kept."""
        return (*self.before[-1:], *self.beside, *self.ready)


@dataclass
class _Call:
    """When a module began and ended, what it was first given, and what it gave."""

    began: int
    ended: int = -1
    given: Tensor | None = None
    gave: object = None
    times: int = 1


@dataclass
class _Watch:
    calls: dict[str, _Call] = field(default_factory=dict)
    clock: int = 0

    def begin(self, name: str, _: nn.Module, given: tuple[object, ...]) -> None:
        self.clock += 1
        if name in self.calls:
            self.calls[name].times += 1
            return
        first = given[0] if given and isinstance(given[0], Tensor) else None
        self.calls[name] = _Call(self.clock, given=first)

    def end(self, name: str, _: nn.Module, __: object, gave: object) -> None:
        self.clock += 1
        self.calls[name].ended, self.calls[name].gave = self.clock, gave


def watched(model: nn.Module, ids: Int[Tensor, "rows t"]) -> dict[str, _Call]:
    """The calls of all modules in one forward, by path."""
    watch = _Watch()
    with ExitStack() as hooks, torch.no_grad():
        for name, module in model.named_modules():
            if name:
                hooks.enter_context(module.register_forward_pre_hook(partial(watch.begin, name)))
                hooks.enter_context(module.register_forward_hook(partial(watch.end, name)))
        model(input_ids=ids, use_cache=False)
    return watch.calls


def untouched(
    model: PreTrainedModel, sites: Sequence[str], ids: Int[Tensor, "rows t"], calls: Mapping[str, _Call]
) -> Untouched:
    """What an edit of these sites leaves as it is, from the calls of a forward of `ids`."""
    edited = {site: calls[site] for site in sites if site in calls}
    if len(edited) < len(sites) or any(call.times > 1 for call in edited.values()):
        return Untouched()
    first = min(edited.values(), key=lambda call: call.began)
    ready = tuple(s for s, call in edited.items() if call.given is first.given and _by_row(call.gave, ids))
    blocks = blocks_of(model, sites)
    if blocks is None or not _by_row(first.given, ids):
        return Untouched()
    before = tuple(f"{blocks.path}.{i}" for i in range(blocks.first))
    if not all(name in calls and _kept(calls[name], first, ids) for name in before):
        return Untouched(ready=ready)
    block = f"{blocks.path}.{blocks.first}"
    return Untouched(before, tuple(_through(model, block, calls, first, ids)), ready)


def _through(
    model: nn.Module, path: str, calls: Mapping[str, _Call], first: _Call, ids: Tensor
) -> Iterator[str]:
    """The largest modules below `path` that end before the first site begins."""
    for name, _ in model.get_submodule(path).named_children():
        child = f"{path}.{name}"
        if child in calls and _kept(calls[child], first, ids):
            yield child
        else:
            yield from _through(model, child, calls, first, ids)


def _kept(call: _Call, first: _Call, ids: Tensor) -> bool:
    return call.times == 1 and 0 <= call.ended < first.began and _by_row(call.gave, ids)


def _by_row(gave: object, ids: Tensor) -> bool:
    """Whether an output is one tensor per row and position, alone or with nothing beside it."""
    if isinstance(gave, tuple):
        return bool(gave) and _by_row(gave[0], ids) and all(other is None for other in gave[1:])
    return isinstance(gave, Tensor) and gave.ndim >= 3 and gave.shape[:2] == ids.shape


@dataclass
class Passing:
    """What the stand-ins of a forward do now: keep what they see, or give back the rows `index` of what was kept."""

    method: Change | None = None
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    runs: int = 1
    kept: Mapping[str, Tensor] | None = None
    index: Tensor | None = None
    seen: dict[str, Tensor] = field(default_factory=dict)

    def rows(self, name: str) -> Tensor | None:
        """The kept output of a module for the rows of this forward."""
        if self.kept is None or name not in self.kept or self.index is None:
            return None
        return self.kept[name][self.index]


class _Replaying(StandIn):
    """Stands for a module that no site touches; `source` is the module whose output it hands on."""

    def __init__(self, base: nn.Module, passing: Passing, name: str, source: str) -> None:
        super().__init__(base)
        self.passing, self.name, self.source = passing, name, source
        self.others: tuple[object, ...] | None = None

    def forward(self, *given: object, **named: object) -> object:
        kept = self.passing.rows(self.source)
        if kept is not None:
            return kept if self.others is None else (kept, *self.others)
        output = self.base(*given, **named)
        tensor: object = output
        if isinstance(output, tuple):
            tensor, self.others = output[0], output[1:]
        if self.name == self.source and isinstance(tensor, Tensor):
            self.passing.seen[self.name] = tensor.detach()
        return output


class _Changed(StandIn):
    """Stands for a site: the base weight's output, kept or computed, and the change of each run."""

    def __init__(self, base: nn.Module, passing: Passing, name: str, ready: bool) -> None:
        super().__init__(base)
        self.passing, self.name, self.ready = passing, name, ready

    def forward(self, x: Tensor) -> Tensor:
        now = self.passing
        output = now.rows(self.name)
        if output is None:
            output = self.base(x)
            if self.ready:
                now.seen[READ], now.seen[self.name] = x.detach(), output.detach()
        else:
            kept = now.rows(READ)
            assert kept is not None
            x = kept
        if now.method is None:
            return output
        by_run = x.reshape(now.runs, -1, x.shape[-1])
        if isinstance(now.method, LowRankChange) and output.dtype == torch.float32:
            # One pass over the output where the change alone would take three.
            inner = now.method.inner(self.name, now.parameters, by_run)
            outer = now.method.outer(self.name, now.parameters).expand(now.runs, -1, -1)
            flat = output.reshape(now.runs, -1, output.shape[-1])
            return torch.baddbmm(flat, inner.to(flat), outer.to(flat)).view(output.shape)
        return output + now.method.change(self.name, now.parameters, by_run).reshape(output.shape)


def stand_ins(
    model: nn.Module, sites: Sequence[str], plan: Untouched, passing: Passing
) -> dict[str, nn.Module]:
    """What stands for the sites and for what they leave as it is, by path."""
    changed = {s: _Changed(model.get_submodule(s), passing, s, s in plan.ready) for s in sites}
    beside = {s: _Replaying(model.get_submodule(s), passing, s, s) for s in plan.beside}
    before = {s: _Replaying(model.get_submodule(s), passing, s, plan.before[-1]) for s in plan.before}
    return {**changed, **beside, **before}
