"""All adversaries by `kind`. A new one is a file in this folder and a line in both tables below."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Tag

from rankone.core.config import Config
from rankone.decomposition.adversary.fresh import FreshAdversary, FreshConfig
from rankone.decomposition.adversary.persistent import PersistentAdversary, PersistentConfig
from rankone.decomposition.adversary.sources import Adversary
from rankone.decomposition.masking.draws import RowDraws

DEFAULT = "persistent"  # of recipes that do not say


def _kind(value: object) -> str | None:
    return value.get("kind", DEFAULT) if isinstance(value, dict) else getattr(value, "kind", None)


AdversaryConfig = Annotated[
    Annotated[PersistentConfig, Tag("persistent")] | Annotated[FreshConfig, Tag("fresh")],
    Discriminator(_kind),
]

ADVERSARIES: dict[type[Config], type[Adversary]] = {
    PersistentConfig: PersistentAdversary,
    FreshConfig: FreshAdversary,
}


def build_adversary(
    config: Config, rows: int, length: int, channels: int, draws: RowDraws, compiled: bool = False
) -> Adversary:
    """An adversary for global batches [rows, length]; `channels` are all subcomponents and one delta per site.

    `compiled` asks for compiled ascents.
    """
    adversary = ADVERSARIES[type(config)](config, rows, length, channels, draws)  # pyright: ignore[reportArgumentType]
    adversary.compiled = compiled
    return adversary
