"""One forward of the untouched model on a prompt, cut at the output of every weight matrix.

What a matrix (or an embedding) writes becomes a leaf, what it reads keeps its graph: a gradient from an input to the leaves
is a direct effect, and runs through norms, attention and activation functions, never through another matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.circuits.attribution.rules import RuleMode, activation_modules
from rankone.circuits.attribution.secant import secant
from rankone.circuits.records import Rule
from rankone.core.errors import RankOneError
from rankone.models.anatomy import holds_experts
from rankone.models.sites import Site, find_sites, left_out


@dataclass(frozen=True)
class Cut:
    """A prompt's forward in pieces; T positions.

    leaves: [1, T, d] (or [T, d]) by name, in the order in which they were written: sites by module path, embeddings by
    module path, biases of norms and heads by parameter. inputs: what each site reads, with its graph. logits: [T, vocab].
    embeddings, biases: which leaves are those. noted, held: operations, as RuleMode has them;
    tape: what was held constant, in order; attended: queries and keys as they meet, layer after layer.
    """

    rule: Rule
    leaves: dict[str, Tensor]
    inputs: dict[str, Tensor]
    logits: Float[Tensor, "t vocab"]
    embeddings: tuple[str, ...]
    biases: tuple[str, ...]
    noted: tuple[str, ...]
    held: tuple[str, ...]
    tape: tuple[Tensor, ...]
    attended: tuple[tuple[Tensor, Tensor], ...] = ()

    @property
    def length(self) -> int:
        """Number of positions."""
        return len(self.logits)

    def written(self, name: str) -> Float[Tensor, "t d"]:
        """Value of a leaf."""
        return _rows(self.leaves[name].detach(), self.length)

    def read(self, site: str) -> Float[Tensor, "t d_in"]:
        """Value of a site's input."""
        return _rows(self.inputs[site].detach(), self.length)


def cut_sites(model: PreTrainedModel) -> list[Site]:
    """All weight matrices of the blocks; RankOneError where a block has weights that cannot be cut."""
    for name, module in model.named_modules():
        if holds_experts(module):
            raise RankOneError(
                f"'{name}' is a mixture of experts: which experts run is not a linear function, and graphs do not cover it."
            )
    others = left_out(model)
    if others:
        name, reason = next(iter(others.items()))
        raise RankOneError(f"no graph can be made of this model: '{name}' cannot be cut, since {reason}")
    return find_sites(model)


def require_precise(model: PreTrainedModel) -> None:
    """RankOneError for a model in half precision: sums of its edges would miss their values by more than they say."""
    if model.dtype not in (torch.float32, torch.float64):
        raise RankOneError(
            f"the model computes in {model.dtype}, too coarse to add up edges. Use --dtype float32."
        )


def cut(
    model: PreTrainedModel,
    ids: Int[Tensor, " t"],
    rule: Rule,
    given: Mapping[str, Tensor] | None = None,
    tape: Iterable[Tensor] | None = None,
) -> Cut:
    """Run the model on one prompt, cut, by a rule. The model is left as it was.

    given: values [T, d] of leaves of sites and embeddings in place of what is computed. tape: constants of an earlier cut
    by the frozen rule. RankOneError as `cut_sites` and `require_precise`.
    """
    require_precise(model)
    sites = cut_sites(model)
    named = {id(p): name for name, p in model.named_parameters()}
    mode = RuleMode(rule, named, tape)
    given = given or {}
    leaves: dict[str, Tensor] = {}
    inputs: dict[str, Tensor] = {}
    embeddings = [name for name, m in model.named_modules() if isinstance(m, nn.Embedding)]
    with ExitStack() as stack:
        stack.enter_context(_still(model))
        for site in sites:
            _hook(stack, site.module, site.name, leaves, inputs, given)
        for name in embeddings:
            _hook(stack, model.get_submodule(name), name, leaves, None, given)
        for module in activation_modules(model):
            _hook_activation(stack, module, mode)
        with torch.enable_grad(), mode:
            logits = model(input_ids=ids.unsqueeze(0), use_cache=False).logits[0]
    missed = [site.name for site in sites if site.name not in inputs]
    if missed:
        raise RankOneError(
            f"'{missed[0]}' did not run as a module of its own on this prompt: the model calls its weight in another way, "
            "and a graph of it would not be true."
        )
    written = tuple(name for name in leaves if name in embeddings)
    # A site's bias is part of what the site writes.
    of_sites = {f"{site.name}.bias" for site in sites}
    biases = {name: leaf for name, leaf in mode.biases.items() if name not in of_sites}
    return Cut(
        rule,
        {**leaves, **biases},
        inputs,
        logits,
        written,
        tuple(biases),
        tuple(mode.noted),
        tuple(mode.held),
        tuple(mode.constant.tape),
        tuple(mode.attended),
    )


def frozen_logits(
    model: PreTrainedModel, ids: Int[Tensor, " t"], tape: Iterable[Tensor] | None = None
) -> tuple[Float[Tensor, "t vocab"], tuple[Tensor, ...]]:
    """Logits of a row by the frozen rule without any cut, with their graph, and what was held constant.

    With the tape of an untouched forward the model is linear in what its matrices write: under a change (`intervened`) the
    logits move by the sum of its effects over all paths, which is what a graph of every node says of it.
    """
    named = {id(p): name for name, p in model.named_parameters()}
    mode = RuleMode("frozen", named, tape)
    leaves: dict[str, Tensor] = {}
    with ExitStack() as stack:
        stack.enter_context(_still(model))
        for name, module in model.named_modules():
            if isinstance(module, nn.Embedding):
                _hook(stack, module, name, leaves, None, {})
        for module in activation_modules(model):
            _hook_activation(stack, module, mode)
        with torch.enable_grad(), mode:
            logits = model(input_ids=ids.unsqueeze(0), use_cache=False).logits[0]
    return logits, tuple(mode.constant.tape)


@contextmanager
def _still(model: PreTrainedModel) -> Iterator[None]:
    """No parameter wants a gradient, no dropout, for the length of the block."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    training = model.training
    for parameter in wanted:
        parameter.requires_grad_(False)
    model.eval()
    try:
        yield
    finally:
        model.train(training)
        for parameter in wanted:
            parameter.requires_grad_(True)


def _hook(
    stack: ExitStack,
    module: nn.Module,
    name: str,
    leaves: dict[str, Tensor],
    inputs: dict[str, Tensor] | None,
    given: Mapping[str, Tensor],
) -> None:
    def after(_: nn.Module, read: tuple[Any, ...], out: Tensor) -> Tensor:
        if name in leaves:
            raise RankOneError(
                f"'{name}' runs more than once in a forward: graphs need every matrix to run once."
            )
        if inputs is not None:
            inputs[name] = read[0]
        value = out if name not in given else given[name].view_as(out)
        leaf = value.detach().clone().requires_grad_()
        leaves[name] = leaf
        return leaf

    stack.enter_context(module.register_forward_hook(after))


def _hook_activation(stack: ExitStack, module: nn.Module, mode: RuleMode) -> None:
    """Inside the module nothing is caught; by the frozen rule its result is its secant times its input."""

    def before(_: nn.Module, given: tuple[Any, ...]) -> None:
        del given
        mode.paused += 1

    def after(_: nn.Module, given: tuple[Any, ...], out: Tensor) -> Tensor | None:
        del out
        try:
            return secant(module.forward, given[0], mode.constant) if mode.rule == "frozen" else None
        finally:
            mode.paused -= 1

    stack.enter_context(module.register_forward_pre_hook(before))
    # First in line, so that nothing else sees a result with the module's own gradient.
    stack.enter_context(module.register_forward_hook(after, prepend=True))


def _rows(value: Tensor, length: int) -> Tensor:
    return value.reshape(length, -1)
