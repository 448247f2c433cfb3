"""The dials' numbers: those of the command line on the same tokens, from whichever block an edit starts."""

from __future__ import annotations

import pytest
import torch

from rankone import open as open_session
from rankone.core.errors import RankOneError
from rankone.models.output import output_of
from rankone.studio.working import dials as module
from rankone.studio.working import passes
from rankone.studio.working.dials import FIRST, Cut, Dials

PART, EARLY = "h.3.mlp.down_proj:270", "h.0.attn.v_proj:101"


@pytest.fixture(scope="module")
def session():
    """The built-in model."""
    return open_session("mini")


@pytest.mark.parametrize("scales", [{PART: -8.0}, {PART: -8.0, EARLY: 0.0}, {EARLY: -2.0}])
def test_they_are_what_edit_says_on_the_same_text(session, scales):
    rows = {
        (row.tokens, row.damage.domain): row.damage for row in Dials(session).measure(scales, (FIRST, 300))
    }
    for tokens in (FIRST, 300):
        reply = session.edit(scales, split="validation", tokens=tokens)
        for said in reply.domains:
            measured = rows[tokens, said.domain]
            assert measured.model_dump(exclude={"role"}) == pytest.approx(
                said.model_dump(exclude={"role"}), abs=2e-5
            )


def test_one_dial_after_the_other_leaves_no_trace(session):
    dials, state = Dials(session), {k: v.clone() for k, v in session.model.state_dict().items()}
    first = list(dials.measure({PART: -8.0}, (FIRST,)))
    list(dials.measure({EARLY: 5.0}, (FIRST,)))
    again = list(dials.measure({PART: -8.0}, (FIRST,)))
    assert [row.damage.rise for row in again] == pytest.approx([row.damage.rise for row in first], abs=1e-6)
    dials.close()
    after = session.model.state_dict()
    assert after.keys() == state.keys()
    assert all(torch.equal(after[name], value) for name, value in state.items())


def test_a_dial_given_up_half_way_puts_the_weights_back(session):
    dials, before = Dials(session), session.model.get_submodule("h.3.mlp.down_proj").weight.clone()
    running = dials.measure({PART: -8.0})
    next(running)
    running.close()
    assert torch.equal(session.model.get_submodule("h.3.mlp.down_proj").weight, before)


def test_nothing_turned_moves_nothing(session):
    rows = list(Dials(session).measure({PART: 1.0}, (FIRST,)))
    assert len(rows) == len(session.corpus.domains())
    assert all(row.damage.rise == 0 and row.kl is None and not row.worst for row in rows)


def test_divergence_and_worst_tokens(session):
    rows = {row.damage.domain: row for row in Dials(session).measure({PART: -8.0}, (FIRST,))}
    german, english = rows["de"], rows["en"]
    assert german.kl.mean > 0.5 > 0.05 > english.kl.mean
    assert german.kl.mean <= german.kl.p99 <= german.kl.largest
    assert [hit.rise for hit in german.worst] == sorted((hit.rise for hit in german.worst), reverse=True)
    assert german.worst[0].rise > german.damage.rise


def test_an_unknown_part_is_named(session):
    with pytest.raises(RankOneError, match=r"h\.9"):
        list(Dials(session).measure({"h.9.mlp.down_proj:1": 0.0}))


def test_domains_for_which_there_was_no_time_are_named(session, monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 0.0)
    (cut,) = Dials(session).measure({PART: -8.0}, (FIRST,))
    assert cut == Cut(tokens=FIRST, domains=tuple(session.corpus.domains()), seconds=module.LIMIT)
    monkeypatch.setattr(module, "AT_ONCE", 1)  # every row alone: the time is up after the first
    monkeypatch.setattr(module.time, "monotonic", iter([0.0, -1.0, 1.0]).__next__)
    (cut,) = Dials(session).measure({PART: -8.0}, (FIRST,))
    assert cut.domains == tuple(session.corpus.domains())


def test_another_job_in_between_changes_nothing_and_costs_no_forward_of_the_base(session, monkeypatch):
    dials = Dials(session)
    first = list(dials.measure({PART: -8.0}, (FIRST,)))
    dials.close()  # as before a job that takes the model as it was loaded
    forwards = []
    monkeypatch.setattr(passes, "output_of", lambda *given: forwards.append(1) or output_of(*given))
    again = list(dials.measure({PART: -8.0}, (FIRST,)))
    assert [row.damage.rise for row in again] == [row.damage.rise for row in first]
    assert len(forwards) == len(dials._portions(FIRST))  # those of the edit alone
    dials.close()
