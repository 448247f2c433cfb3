"""What is measured of transcoders and their rivals; importable without PyTorch."""

from __future__ import annotations

from pydantic import Field

from rankone.core.config import Config


class Judged(Config):
    """One way to replace MLPs. cascading, parallel, single: rise of cross-entropy, nats per token (judging.py). per_module,
    per_output: units active per token; parameters: numbers used per token. jacobian: cosine, None where it is not asked.
    firing_auc: how well token and domain tell where a unit is on (firing.py), mean over the `scored` units."""

    name: str
    cascading: float
    parallel: float
    single: float
    unexplained: float
    per_module: float
    per_output: float
    parameters: float
    dead: float | None = None
    jacobian: float | None = None
    firing_auc: float | None = None
    scored: int | None = None


class Alike(Config):
    """Latents of two dictionaries (similarity.py)."""

    first: str
    second: str
    mmcs: float = Field(ge=0)
    matched: float = Field(ge=0)
    chance: float = Field(ge=0)
    split: float = Field(ge=0, le=1)
