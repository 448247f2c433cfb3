"""Columns of parts: from a harvest to Parquet and back; what is no such file is refused."""

from __future__ import annotations

import gzip
import json

import pytest

from rankone import open as open_session
from rankone.core.errors import RankOneError
from rankone.harvest.brief import brief_harvest
from rankone.labels.on_demand import StatisticalLabels
from rankone.studio.listed.columns import SHIPPED, made, read_columns, write_columns


@pytest.fixture(scope="module")
def harvested():
    """A small harvest of the built-in model, and its session."""
    session = open_session("mini")
    return session, brief_harvest(session.workspace, ["de", "en"], 100)


def test_columns_say_what_the_harvest_says(harvested, tmp_path):
    session, store = harvested
    columns = made(store, StatisticalLabels.of_all(store), session.decomposition_artifact.fingerprint)
    write_columns(columns, tmp_path / "parts.json.gz")
    read = read_columns(tmp_path / "parts.json.gz")
    assert read.source == columns.source
    held = read.plain()
    name = "h.3.mlp.down_proj:270"
    row = store.names().index(name)
    page = store.page(name)
    assert f"{held['sites'][held['site'][row]]}:{held['number'][row]}" == name
    assert held["domains"] == ["de", "en"]
    shares = [next(d.density for d in page.domains if d.domain == domain) for domain in held["domains"]]
    assert [of[row] for of in held["by_domain"]] == pytest.approx(shares, rel=5e-3)
    assert held["density"][row] == pytest.approx(page.firings / page.tokens, rel=5e-3, abs=5e-5)
    assert held["importance"][row] == pytest.approx(page.mean_importance, rel=5e-2, abs=5e-5)


def test_the_shipped_list_is_of_the_shipped_decomposition():
    session, columns = open_session("mini"), read_columns(SHIPPED)
    assert columns.source.artifact == session.decomposition_artifact.fingerprint
    assert len(columns.number) == len(session.decomposition.names())
    assert SHIPPED.stat().st_size <= 250_000


def test_other_files_are_refused(tmp_path):
    path, held = tmp_path / "parts.json.gz", json.loads(gzip.decompress(SHIPPED.read_bytes()))
    with pytest.raises(RankOneError, match="holds no columns"):
        read_columns(path)
    for content in (b"garbage", SHIPPED.read_bytes()[:-1000], gzip.compress(b"[[]]")):
        path.write_bytes(content)
        with pytest.raises(RankOneError, match="holds no columns"):
            read_columns(path)
    for broken in (held | {"by_domain": held["by_domain"][1:]}, held | {"label": held["label"][1:]}):
        path.write_bytes(gzip.compress(json.dumps(broken).encode()))
        with pytest.raises(RankOneError, match="holds no columns"):
            read_columns(path)
