"""Reservations, settlements, caps and prices."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from rankone.labels.model.budget import Budget, Caps, Estimate, likely_tokens, most_tokens


def test_prices_are_per_million():
    assert Caps(price_in=2.0, price_out=8.0).cost(500_000, 250_000) == 3.0


def test_reserved_tokens_count_until_they_are_settled():
    budget = Budget(Caps(max_tokens=100))
    assert budget.reserve(50, 10)
    assert not budget.reserve(41, 0)
    assert budget.reserve(40, 0)
    budget.settle((50, 10), (20, 5))
    budget.settle((40, 0), (0, 0))
    assert budget.used == (20, 5)
    assert budget.reserve(75, 0)
    assert budget.refused == 1


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(0, 1)), max_size=40))
def test_the_cap_holds_whatever_comes_within_the_bounds(requests):
    budget = Budget(Caps(max_tokens=300, max_cost=0.0002, price_in=1.0, price_out=0.5))
    for tokens_in, tokens_out, share in requests:
        if budget.reserve(tokens_in, tokens_out):
            budget.settle((tokens_in, tokens_out), (int(share * tokens_in), int(share * tokens_out)))
        assert sum(budget.used) <= 300
        assert budget.cost <= 0.0002


def test_threads_do_not_pass_the_cap_together():
    budget, granted = Budget(Caps(max_tokens=500)), []
    threads = [
        threading.Thread(target=lambda: granted.extend(budget.reserve(1, 0) for _ in range(200)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 500


def test_a_prompt_has_at_most_its_bytes_and_the_template():
    assert most_tokens("äöü") - most_tokens("") == 6
    assert likely_tokens("a" * 300) < most_tokens("a" * 300)
    one, other = (
        Estimate(requests=1, tokens_in=2, tokens_out=3),
        Estimate(requests=4, tokens_in=5, tokens_out=6),
    )
    assert one + other == Estimate(requests=5, tokens_in=7, tokens_out=9)
