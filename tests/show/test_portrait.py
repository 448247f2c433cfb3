"""What a portrait gathers: neighbours by direction with and without a decomposition, members as far as they are shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import simple_mlp
from tests.show.portraits import portrait as of_page

from rankone.decomposition.directions import DirectionRow
from rankone.harvest.reading.page import MemberRow
from rankone.show.portrait import nearest, portrait
from rankone.show.tables import members


def test_each_other_name_once_by_size_of_its_cosine():
    rows = [("a", 0.2), ("b", -0.5), ("a", -0.4), ("self", 0.9), ("c", 0.05), ("d", 0.1)]
    found = nearest([DirectionRow(name, cosine) for name, cosine in rows], "self")
    assert [(row.part, row.cosine) for row in found] == [("b", -0.5), ("a", -0.4), ("d", 0.1)]


class Store:
    """A harvest of a decomposition's subcomponents, of which nothing but one page is asked."""

    def __init__(self, page):
        made, config = type("Named", (), {"name": "m"}), type("Config", (), {"split": "train", "firing": 0.1})
        self.record = type("Record", (), {"model": made, "text": made, "config": config})
        self._page = page

    def page(self, name):
        return replace(self._page, part=name)

    def members(self, name):
        return [name]

    def owner(self, name):
        return name


def test_neighbours_by_direction_need_the_decomposition():
    model = simple_mlp()
    parts, name = decomposed(model, "random"), "h.0.mlp.down_proj:0"
    store = Store(of_page().page)
    assert portrait(store, name).directions == {}  # pyright: ignore[reportArgumentType]
    found = portrait(store, name, None, parts, 24, 3).directions  # pyright: ignore[reportArgumentType]
    assert found
    site, column = parts.locate(name)
    reads = torch.nn.functional.normalize(parts.factors(site)[0], dim=0)
    cosines = reads.T @ reads[:, column]
    cosines[column] = 0.0
    best = found["read"][0]
    assert best.part == f"{site}:{int(parts.indices[site][cosines.abs().argmax()])}"
    assert best.cosine == pytest.approx(float(cosines[cosines.abs().argmax()]), abs=1e-5)


def test_members_say_how_many_are_shown():
    shown = of_page()
    two = replace(
        shown, page=replace(shown.page, members=[MemberRow("a:1", 45, 0.9), MemberRow("b:2", 5, 0.1)])
    )
    titles = {top: members(two, top).title for top in (None, 1, 2, 3)}  # pyright: ignore[reportOptionalMemberAccess]
    whole = "Its 2 members"
    assert titles == {None: whole, 1: f"{whole}, the first 1", 2: whole, 3: whole}
