"""What a verb makes is claimed before its work begins: of two runs the second is refused at once."""

from __future__ import annotations

import pytest
from tests.claimed import claimed_elsewhere

from rankone.core.errors import RankOneError
from rankone.core.paths import CLAIM, hidden_name
from rankone.opening import Opening
from rankone.verbs import verb as boundary
from rankone.verbs.table import VERBS

WRITING = {name: place for name, verb in VERBS.items() for place in verb.writes}


@pytest.mark.parametrize("name", WRITING)
def test_a_place_that_another_run_makes_is_refused_before_any_work(name, tmp_path, monkeypatch):
    monkeypatch.setattr(boundary, "check", lambda *_: None)
    worked = []
    before = VERBS[name].run
    object.__setattr__(
        VERBS[name], "run", lambda *_: worked.append(sorted(p.name for p in tmp_path.iterdir()))
    )
    try:
        request = VERBS[name].request.model_construct(**{WRITING[name]: tmp_path / "out"})
        refused = pytest.raises(RankOneError, match=f"another run is writing to '{tmp_path / 'out'}'")
        with claimed_elsewhere(tmp_path / "out"), refused:
            VERBS[name].ask(Opening(), request)
        assert worked == []
        VERBS[name].ask(Opening(), request)
        assert worked == [[hidden_name("out", CLAIM)]]
        assert list(tmp_path.iterdir()) == []
    finally:
        object.__setattr__(VERBS[name], "run", before)
