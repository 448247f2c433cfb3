"""A book of parts: sets of several origins side by side; a part is found by its name, whose prefix says the origin.

What follows from the weights alone (neurons, channels, singular and random directions) is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from rankone.core.errors import RankOneError, nearest
from rankone.models.sites import find_sites, site_named
from rankone.parts.naming import require_written
from rankone.parts.origins import FROM_WEIGHTS, is_pattern, not_open, origin_in
from rankone.parts.parts import FactorPair, Parts, PartVectors, united
from rankone.parts.sources import SOURCES, make_parts


@runtime_checkable
class Named(Protocol):
    """Anything that finds parts by their names: a set of parts, a decomposition, a book."""

    def names(self) -> list[str]:
        """Names of the parts it lists."""
        ...

    def locate(self, name: str) -> tuple[str, int]:
        """(site, column) of a part in the set that holds it."""
        ...

    def vectors(self, name: str) -> PartVectors:
        """(v, u) of a part."""
        ...


class Book:
    """Sets of parts by origin; with a model also the parts that follow from its weights, by name.

    Raises RankOneError where two sets have one origin.
    """

    def __init__(self, sets: Sequence[Parts] = (), model: nn.Module | None = None) -> None:
        self._sets: dict[str, Parts] = {}
        self._model = model
        self._made: dict[str, Parts] = {}
        for parts in sets:
            self.add(parts)

    def add(self, parts: Parts) -> None:
        """Put in one more set."""
        if parts.origin in self._sets:
            raise RankOneError(
                f"the book already holds parts of origin '{parts.origin}'. Give one set of each."
            )
        self._sets[parts.origin] = parts

    def joined(self, sets: Sequence[Parts]) -> Book:
        """A book with these sets too."""
        return Book([*self._sets.values(), *sets], self._model)

    @property
    def origins(self) -> list[str]:
        """Origins of the sets it holds."""
        return list(self._sets)

    def names(self) -> list[str]:
        """Names of all parts of the sets it holds, set by set; those made on demand are not listed."""
        return [name for parts in self._sets.values() for name in parts.names()]

    def names_at(self, site: str) -> list[str]:
        """Names of the parts that its sets hold at a site, in the order of `factors_at`."""
        return [
            f"{parts.prefix}{site}:{int(number)}"
            for parts in self._sets.values()
            if site in parts.sites
            for number in parts.indices[site]
        ]

    def factors_at(self, site: str) -> FactorPair:
        """(V [d_in, C], U [C, d_out]) of all parts that its sets hold at a site; RankOneError where there is none."""
        pairs = [parts.factors(site) for parts in self._sets.values() if site in parts.sites]
        if not pairs:
            raise RankOneError(f"no part of '{site}' is open. Open the artefact that holds some.")
        return torch.cat([v.detach() for v, _ in pairs], dim=1), torch.cat([u.detach() for _, u in pairs])

    def holding(self, name: str) -> Parts:
        """The set that holds a part: one of the book's, or one part made from the weights now."""
        origin = origin_in(name)
        parts = self._sets.get(origin)
        from_weights = self._model is not None and origin in FROM_WEIGHTS
        if parts is not None and not (from_weights and name not in parts.names()):
            return parts
        if not from_weights or self._model is None:
            raise RankOneError(not_open(name, self.origins, () if self._model is None else FROM_WEIGHTS))
        if name not in self._made:
            self._made[name] = self._from_weights(origin, name, self._model)
        return self._made[name]

    def locate(self, name: str) -> tuple[str, int]:
        """(site, column in its set) of a part; RankOneError for an unknown name or origin."""
        return self.holding(name).locate(name)

    def vectors(self, name: str) -> PartVectors:
        """(v, u) of a part; errors as `locate`."""
        return self.holding(name).vectors(name)

    def stacked(self, names: Sequence[str]) -> FactorPair:
        """(V [d_in, k], U [k, d_out]) of k parts of one site, whatever their origins."""
        pairs = [self.vectors(name) for name in names]
        return torch.stack([v for v, _ in pairs], dim=1), torch.stack([u for _, u in pairs])

    def gathered(self, names: Sequence[str]) -> Parts:
        """Parts of one origin in a set of their own, under the same names, each once.

        A name with `*` stands for all parts that it fits: `neuron/h.3.mlp.down_proj:*`, `neuron/h.*.mlp.*:*`,
        `contrast-fr/*`. RankOneError for several origins, and for a pattern that fits nothing.
        """
        if len({origin_in(name) for name in names}) != 1:
            raise RankOneError(
                f"{', '.join(names[:3])} are of several origins, and a set of parts is of one. Take each origin by itself."
            )
        sets = [
            self._matching(name) if is_pattern(name) else self.holding(name).chosen([name]) for name in names
        ]
        return united(sets).frozen()

    def _matching(self, pattern: str) -> Parts:
        """The parts that a pattern fits: all that follow from the weights, or those of the set that is open."""
        origin = origin_in(pattern)
        if self._model is not None and origin in FROM_WEIGHTS:
            place, colon, number = pattern.removeprefix(f"{origin}/").rpartition(":")
            site, number = (place, number) if colon else (number, "*")
            if number != "*":
                raise RankOneError(f"'{pattern}' picks numbers: write {origin}/{site}:* for all of them.")
            sites = find_sites(self._model, [site])
            return make_parts(origin, sites, count=max(min(s.d_in, s.d_out) for s in sites))
        held = self._sets.get(origin)
        if held is None:
            raise RankOneError(not_open(pattern, self.origins, () if self._model is None else FROM_WEIGHTS))
        fits = [name for name in held.names() if fnmatchcase(name, pattern)]
        if not fits:
            raise RankOneError(f"no part fits '{pattern}'.{nearest(pattern, held.names())}")
        return held.chosen(fits)

    def _from_weights(self, origin: str, name: str, model: nn.Module) -> Parts:
        site, number = require_written(name)
        only = site_named(model, site)
        if SOURCES[origin].counted:
            return make_parts(origin, [only], count=number + 1)
        return make_parts(origin, [only], numbers={site: [number]})
