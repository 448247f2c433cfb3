"""A model with some of its MLPs replaced by what something else makes of their inputs, for the length of a block."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.circuits.transcoders.coder import Keeping, Transcoder
from rankone.circuits.transcoders.codes import Codes
from rankone.circuits.transcoders.places import Mlp
from rankone.models.modules import StandIn, replaced


class _Coded(StandIn):
    """An MLP's place, where a transcoder reads what comes in; what it writes stands in for the MLP where it is asked to."""

    def __init__(
        self,
        base: nn.Module,
        coder: Transcoder,
        layer: int,
        codes: list[Codes],
        writes: bool,
        keeping: Keeping,
    ) -> None:
        super().__init__(base)
        object.__setattr__(self, "coder", coder)  # its parameters are not this model's
        self.layer, self.codes, self.writes = layer, codes, writes
        self.keeping: Keeping = keeping

    def forward(self, x: Float[Tensor, "b t d"], *args: object, **options: object) -> Float[Tensor, "b t d"]:
        """The transcoder's output, or the MLP's own."""
        coder: Transcoder = self.coder
        flat = x.flatten(0, -2).float()
        if self.layer == 0:
            self.codes.clear()
        self.codes.append(coder.codes(self.layer, flat, self.keeping))
        if not self.writes:
            return self.base(x, *args, **options)
        return coder.output(self.layer, self.codes).view_as(x).to(x.dtype)


class _Given(StandIn):
    """An MLP's place, where an output that was computed before stands in for it."""

    def __init__(self, base: nn.Module, output: Float[Tensor, "b t d"]) -> None:
        super().__init__(base)
        self.output = output

    def forward(self, x: Float[Tensor, "b t d"], *args: object, **options: object) -> Float[Tensor, "b t d"]:  # noqa: ARG002
        """The output that was given."""
        return self.output.to(x.dtype)


@contextmanager
def replacing(
    model: PreTrainedModel,
    mlps: Sequence[Mlp],
    coder: Transcoder,
    layers: Collection[int],
    keeping: Keeping = "batch",
) -> Iterator[None]:
    """The model with a transcoder in place of the MLPs of `layers`; the others run, and are read by it."""
    codes: list[Codes] = []
    places = {
        mlp.path: _Coded(model.get_submodule(mlp.path), coder, i, codes, i in layers, keeping)
        for i, mlp in enumerate(mlps)
    }
    with replaced(model, places):
        yield


@contextmanager
def giving(
    model: PreTrainedModel, mlps: Sequence[Mlp], outputs: Sequence[Float[Tensor, "b t d"] | None]
) -> Iterator[None]:
    """The model with outputs that are known in place of MLPs' own; None leaves one as it is."""
    places = {
        mlp.path: _Given(model.get_submodule(mlp.path), output)
        for mlp, output in zip(mlps, outputs, strict=True)
        if output is not None
    }
    with replaced(model, places):
        yield
