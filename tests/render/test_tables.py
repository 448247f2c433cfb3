"""A table as data: its rows in every form, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from rankone.core.errors import RankOneError
from rankone.render.columns import TOKEN, Column
from rankone.render.tables import Table
from rankone.render.values import formatted, number, signed


def table():
    columns = ["domain", Column("rise", "+.3f", limit=0.1), Column("share", ".1%"), "tokens"]
    rows = [["de", np.float32(-0.25), 0.5, [" der", "die"]], ["en", torch.tensor(0.1), None, []]]
    return Table.of("Rises", columns, rows, "nats", strong=[1])


def test_rows_are_plain_values():
    assert table().records() == [
        {"domain": "de", "rise": -0.25, "share": 0.5, "tokens": [" der", "die"]},
        {"domain": "en", "rise": pytest.approx(0.1), "share": None, "tokens": []},
    ]
    assert json.loads(table().to_json()) == table().records()
    assert table().to_csv().splitlines()[:2] == ["domain,rise,share,tokens", "de,-0.25,0.5, der die"]
    assert table().column("domain") == ["de", "en"]


def test_what_is_no_number_is_null_in_json():
    assert Table.of("t", ["a"], [[float("nan")]]).to_json() == '[{"a": null}]'


def test_head_keeps_what_stands_out():
    assert table().head(1).rows == table().rows[:1]
    assert not table().head(1).strong
    assert len(table().head(5)) == 2


def test_a_data_frame():
    frame = table().to_pandas()
    assert list(frame.columns) == ["domain", "rise", "share", "tokens"]
    assert frame["rise"][0] == -0.25


def test_cells_as_text():
    rise = table().columns[1]
    assert [rise.text(v) for v in (-0.25, 0.0001, -0.0001, None)] == ["−0.250", "0.000", "0.000", "–"]
    assert [rise.stands_out(v) for v in (0.1, 0.0999, None)] == [True, False, False]
    assert Column("t", TOKEN).text(" a\n") == "␣a↵"
    assert table().columns[3].text((" der", "die")) == "␣der die"


def test_values_by_hand():
    assert [formatted(v) for v in (1234, 0.5, 0.0, 1e-5, 12345.6, True, None)] == [
        *("1,234", "0.500", "0.000", "1e−05", "1.23e+04", "yes", "–")
    ]
    assert (number(-0.0004), number(1234.56), number(-2.5, 1)) == ("0.000", "1235", "−2.5")
    assert (signed(0.0124), signed(-0.003), signed(0.0004)) == ("+0.012", "−0.003", "0.000")


def test_the_first_column_is_the_key_where_none_is_named():
    assert table().columns[0].key
    named = Table.of("t", ["label", Column("name", key=True)], [])
    assert [c.key for c in named.columns] == [False, True]


def test_a_ragged_row_and_two_columns_of_one_name_are_refused():
    with pytest.raises(RankOneError, match="row 1: 1 values for 2 columns"):
        Table.of("t", ["a", "b"], [[1, 2], [1]])
    with pytest.raises(RankOneError, match="two columns of one name"):
        Table.of("t", ["a", "a"], [])
    with pytest.raises(RankOneError, match="no column 'x', only domain"):
        table().column("x")


def test_a_prompt_shows_the_table_itself():
    """The first rows of a reply are the last line of README's example: no dump of columns and rows."""
    assert repr(table().head(1)) == str(table().head(1))
    assert "Column(" not in repr(table())
