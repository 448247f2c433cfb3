"""The dials' numbers: those of the command line on the same tokens, from whichever block an edit starts."""

from __future__ import annotations

import pytest
import torch

from rankone import open as open_session
from rankone.core.errors import RankOneError
from rankone.models.output import output_of
from rankone.studio.views.worker import Reading
from rankone.studio.working import dials as module
from rankone.studio.working import passes
from rankone.studio.working.dials import FIRST, Cut, Dials, Measured

PART, EARLY = "h.3.mlp.down_proj:270", "h.0.attn.v_proj:101"


@pytest.fixture(scope="module")
def session():
    """The built-in model."""
    return open_session("mini")


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch):
    """On a busy machine too: what is tested is not how quick it is."""
    monkeypatch.setattr(module, "LIMIT", 3600.0)


def _figures(dials, scales, then=None) -> list:
    """What is measured, without what is told meanwhile."""
    return [told for told in dials.measure(scales, then) if isinstance(told, Measured | Cut)]


@pytest.mark.parametrize("scales", [{PART: -8.0}, {PART: -8.0, EARLY: 0.0}, {EARLY: -2.0}])
def test_they_are_what_edit_says_on_the_same_text(session, scales):
    rows = {(row.tokens, row.damage.domain): row.damage for row in _figures(Dials(session), scales, 300)}
    for tokens in (FIRST, 300):
        reply = session.edit(scales, split="validation", tokens=tokens)
        for said in reply.domains:
            measured = rows[tokens, said.domain]
            assert measured.model_dump(exclude={"role"}) == pytest.approx(
                said.model_dump(exclude={"role"}), abs=2e-5
            )


def test_what_the_first_look_has_whole_is_not_run_again(session):
    dials = Dials(session)
    text = session.workspace.text(dials.domains, "validation", module.WHOLE)
    first, rest = ({p for one in dials._portions(n) for p in one.places} for n in (FIRST, module.WHOLE))
    whole = {(domain, i) for domain, blocks in text.items() for i in range(len(blocks.ids))}
    assert first | rest == whole
    assert first - rest == {(domain, 0) for domain in dials.domains}  # the second of each is cut short there
    # What is filled up is computed in vain: no more than a tenth of what is there.
    computed = sum(one.blocks.ids.numel() for n in (FIRST, module.WHOLE) for one in dials._portions(n))
    there = sum(int(one.blocks.present.sum()) for n in (FIRST, module.WHOLE) for one in dials._portions(n))
    assert there <= computed <= 1.1 * there


def test_a_domain_with_no_more_text_than_the_first_look_has_its_figures_of_both(session, monkeypatch):
    dials, known = Dials(session), {"de", "en"}
    same = dials._same
    monkeypatch.setattr(
        dials,
        "_same",
        lambda text: same(text) | {(d, i) for d in known for i in range(len(text[d].ids))},
    )
    rows = {(row.tokens, row.damage.domain): row for row in _figures(dials, {PART: -8.0}, 200)}
    assert len(rows) == 2 * len(dials.domains)
    for domain in known:
        assert rows[200, domain].damage == rows[FIRST, domain].damage
        assert rows[200, domain].kl is None
    dials.close()


def test_one_dial_after_the_other_leaves_no_trace(session):
    dials, state = Dials(session), {k: v.clone() for k, v in session.model.state_dict().items()}
    first = _figures(dials, {PART: -8.0})
    _figures(dials, {EARLY: 5.0})
    again = _figures(dials, {PART: -8.0})
    assert [row.damage.rise for row in again] == pytest.approx([row.damage.rise for row in first], abs=1e-6)
    dials.close()
    after = session.model.state_dict()
    assert after.keys() == state.keys()
    assert all(torch.equal(after[name], value) for name, value in state.items())


def test_a_dial_given_up_half_way_puts_the_weights_back(session):
    dials, before = Dials(session), session.model.get_submodule("h.3.mlp.down_proj").weight.clone()
    running = dials.measure({PART: -8.0})
    assert any(isinstance(told, Measured) for told in running)
    running.close()
    assert torch.equal(session.model.get_submodule("h.3.mlp.down_proj").weight, before)


def test_nothing_turned_moves_nothing(session):
    rows = _figures(Dials(session), {PART: 1.0})
    assert len(rows) == len(session.corpus.domains())
    assert all(row.damage.rise == 0 and row.kl is None and not row.worst for row in rows)


def test_divergence_and_worst_tokens(session):
    rows = {row.damage.domain: row for row in _figures(Dials(session), {PART: -8.0})}
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
    (cut,) = _figures(Dials(session), {PART: -8.0})
    assert cut == Cut(tokens=FIRST, domains=tuple(session.corpus.domains()), seconds=module.LIMIT)
    monkeypatch.setattr(module, "AT_ONCE", 1)  # every row alone: the time is up after the first
    rows = len(Dials(session)._portions(FIRST))
    monkeypatch.setattr(module.time, "monotonic", iter([0.0, *[-1.0] * rows, 1.0]).__next__)
    (cut,) = _figures(Dials(session), {PART: -8.0})
    assert cut.domains == tuple(session.corpus.domains())


def test_another_job_in_between_changes_nothing_and_costs_no_forward_of_the_base(session, monkeypatch):
    dials = Dials(session)
    first = _figures(dials, {PART: -8.0})
    dials.close()  # as before a job that takes the model as it was loaded
    forwards = []
    monkeypatch.setattr(passes, "output_of", lambda *given: forwards.append(1) or output_of(*given))
    again = _figures(dials, {PART: -8.0})
    assert [row.damage.rise for row in again] == [row.damage.rise for row in first]
    assert len(forwards) == len(dials._portions(FIRST))  # those of the edit alone
    dials.close()


def test_what_the_base_model_read_ahead_no_dial_reads_again(session, monkeypatch):
    monkeypatch.setattr(module, "WHOLE", 200)
    monkeypatch.setattr(module, "AT_ONCE", 1)  # every row alone
    scales, plain = {PART: -8.0}, Dials(session)
    before = [row.damage for row in _figures(plain, scales)]
    plain.close()
    dials, forwards = Dials(session), []
    monkeypatch.setattr(passes, "output_of", lambda *given: forwards.append(1) or output_of(*given))
    rows = len(dials._portions(FIRST))
    assert sum(1 for _ in dials.ahead()) == len(forwards) == rows + len(dials._portions(200))
    assert not list(dials.ahead())
    forwards.clear()
    told = list(dials.measure(scales, None))
    # From the last block on: the first row shows that starting late gives the same, the others are known.
    assert [one for one in told if isinstance(one, Reading)] == [Reading(read=0, of=rows)]
    assert len(forwards) == rows + 2
    assert [row.damage for row in told if isinstance(row, Measured)] == before
    dials.close()


def test_a_dial_can_be_called_off_while_the_base_model_reads_and_the_next_goes_on_from_there(
    session, monkeypatch
):
    monkeypatch.setattr(module, "AT_ONCE", 1)
    dials = Dials(session)
    rows = len(dials._portions(FIRST))
    running = dials.measure({PART: -8.0}, None)
    assert [next(running) for _ in range(4)] == [Reading(read=i, of=rows) for i in range(4)]
    running.close()
    read = [told.read for told in dials.measure({PART: -4.0}, None) if isinstance(told, Reading)]
    assert read == list(range(3, rows))
    dials.close()


def test_the_time_is_up_for_the_base_model_too(session, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 1)
    monkeypatch.setattr(module.time, "monotonic", iter([0.0, -1.0, -1.0, module.LIMIT + 1]).__next__)
    told = list(Dials(session).measure({PART: -8.0}, None))
    assert [type(one) for one in told] == [Reading, Reading, Cut]
