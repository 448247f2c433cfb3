"""Toy targets whose mechanisms are known: superposition (TMS) and residual MLPs, trained in seconds.

TMS (toy model of superposition): ReLU(Wᵀ L … L W x + b) with m < n hidden units, n sparse features in [0, 1] and, if
asked for, identity layers L in the middle; it learns to give x back. ResidMLP: features in [−1, 1] are embedded along
fixed random directions into a residual stream, blocks r + W_out ReLU(W_in r) follow, and the read-out along the same
directions learns ReLU(x) + x. Several blocks share the features out as they like, many in one block alone, unless rows in
which one block stands in for all teach every block every feature. Source: the toy targets of the method's paper.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rankone.models.toys.config import ResidMLPConfig, TMSConfig, ToyTraining
from rankone.runtime.progress import meter
from rankone.runtime.seeding import seeded


class TMS(nn.Module):
    """`layers.0` is W [m, n], the last one Wᵀ [n, m] as a weight of its own, identity layers [m, m] lie between."""

    def __init__(self, weight: Float[Tensor, "m n"], bias: Float[Tensor, " n"], identity_layers: int) -> None:
        super().__init__()
        hidden, features = weight.shape
        first, last = nn.Linear(features, hidden, bias=False), nn.Linear(hidden, features)
        middle = [nn.Linear(hidden, hidden, bias=False) for _ in range(identity_layers)]
        with torch.no_grad():
            first.weight.copy_(weight)
            for layer in middle:
                layer.weight.copy_(torch.eye(hidden))
            last.weight.copy_(weight.T)
            last.bias.copy_(bias)
        self.layers = nn.ModuleList([first, *middle, last])

    def forward(self, x: Float[Tensor, "b t n"]) -> Float[Tensor, "b t n"]:
        """The features given back."""
        for layer in self.layers:
            x = layer(x)
        return x.relu()


class _Block(nn.Module):
    def __init__(self, width: int, neurons: int) -> None:
        super().__init__()
        self.mlp_in = nn.Linear(width, neurons, bias=False)
        self.mlp_out = nn.Linear(neurons, width, bias=False)

    def forward(self, x: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        return x + scale * self.mlp_out(self.mlp_in(x).relu())


class ResidMLP(nn.Module):
    """`embedding` [n, d] has fixed random rows of length 1; sites are `blocks.<i>.mlp_in` and `.mlp_out`.

    Neither reads or writes outside the span of the embedding, where no feature is and nothing would be true or false.
    """

    embedding: Tensor
    span: Tensor

    def __init__(self, config: ResidMLPConfig) -> None:
        super().__init__()
        self.register_buffer("embedding", F.normalize(torch.randn(config.features, config.width), dim=1))
        neurons = config.neurons // config.blocks
        self.blocks = nn.ModuleList(_Block(config.width, neurons) for _ in range(config.blocks))
        self.register_buffer("span", torch.linalg.pinv(self.embedding) @ self.embedding, persistent=False)
        self.to_span()

    @torch.no_grad()
    def to_span(self) -> None:
        """Project what the blocks read and write onto the span of the embedding."""
        for block in self.blocks:
            assert isinstance(block, _Block)
            block.mlp_in.weight.copy_(block.mlp_in.weight @ self.span)
            block.mlp_out.weight.copy_(self.span @ block.mlp_out.weight)

    def forward(
        self, x: Float[Tensor, "*b n"], scales: Float[Tensor, "*b blocks"] | None = None
    ) -> Float[Tensor, "*b n"]:
        """Features in, read-outs along their embedding directions out; `scales` weigh what each block adds."""
        stream = x @ self.embedding
        for i, block in enumerate(self.blocks):
            stream = block(stream) if scales is None else block(stream, scales[..., i : i + 1])
        return stream @ self.embedding.T


def sparse_features(
    config: TMSConfig | ResidMLPConfig, shape: tuple[int, ...], generator: torch.Generator
) -> Float[Tensor, "*shape n"]:
    """Features active with the target's probability: uniform in [0, 1] for TMS, in [−1, 1] for ResidMLP; else 0."""
    size = (*shape, config.features)
    value = torch.rand(size, generator=generator)
    if config.kind == "resid_mlp":
        value = 2 * value - 1
    return value * (torch.rand(size, generator=generator) < config.probability)


def train_toy(config: TMSConfig | ResidMLPConfig, seed: int) -> TMS | ResidMLP:
    """The trained target of this seed, frozen."""
    generator = torch.Generator().manual_seed(seed)
    with seeded(seed):
        target = (
            _train_tms(config, generator) if config.kind == "tms" else _train_resid_mlp(config, generator)
        )
    return target.eval().requires_grad_(False)


def _train_tms(config: TMSConfig, generator: torch.Generator) -> TMS:
    weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(config.hidden, config.features)))
    bias = nn.Parameter(torch.zeros(config.features))
    # Identity layers change nothing, so the target is trained without them.
    _fit(config, generator, [weight, bias], lambda x: (F.relu(x @ weight.T @ weight + bias) - x).square())
    return TMS(weight.detach(), bias.detach(), config.identity_layers)


def _train_resid_mlp(config: ResidMLPConfig, generator: torch.Generator) -> ResidMLP:
    target = ResidMLP(config)

    def error(x: Tensor) -> Tensor:
        scales = _one_for_all(config, len(x), generator) if config.alone else None
        return (target(x, scales) - x.relu() - x).square()

    # Adam scales coordinates one by one, which leads out of the span.
    _fit(config, generator, list(target.blocks.parameters()), error, target.to_span)
    return target


def _one_for_all(config: ResidMLPConfig, rows: int, generator: torch.Generator) -> Float[Tensor, "b blocks"]:
    """What each block adds, scaled: in some rows one block alone, so that all of them learn every feature."""
    one = F.one_hot(torch.randint(config.blocks, (rows,), generator=generator), config.blocks).float()
    alone = torch.rand(rows, 1, generator=generator) < config.alone
    return torch.where(alone, config.blocks * one, 1.0)


def _fit(
    config: ToyTraining,
    generator: torch.Generator,
    parameters: list[nn.Parameter],
    error: Callable[[Tensor], Tensor],
    after: Callable[[], None] = lambda: None,
) -> None:
    optimizer = torch.optim.Adam(parameters, lr=config.learning_rate)
    with meter("target", config.steps) as bar:
        for step in range(config.steps):
            optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - step / config.steps)
            loss = error(sparse_features(config, (config.batch,), generator)).mean()  # pyright: ignore[reportArgumentType]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            after()
            bar.advance(1, f"error {loss.item():.4g}" if step % 50 == 0 else "")
