"""The adversary of each kind: a new one is a file here, a class in config.py and a line in the table below."""

from __future__ import annotations

from rankone.core.config import Config
from rankone.decomposition.adversary.config import FreshConfig, PersistentConfig
from rankone.decomposition.adversary.fresh import FreshAdversary
from rankone.decomposition.adversary.persistent import PersistentAdversary
from rankone.decomposition.adversary.sources import Adversary
from rankone.decomposition.masking.draws import RowDraws

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
