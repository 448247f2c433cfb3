"""Least squares by hand: parts that do not overlap, dependent ones, a weighted norm, a greedy choice."""

from __future__ import annotations

import pytest
import torch

from rankone.edits.lowrank import Factors
from rankone.edits.projection.least_squares import SiteProblem, solve_all, solve_sparsely

# Three parts of a 2 × 3 weight: e1 e1ᵀ, e2 e2ᵀ, and e1 e2ᵀ.
READS = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]])
WRITES = torch.tensor([[1.0, 0], [0, 1], [1, 0]])
NAMES = ["a", "b", "c"]


def change(matrix):
    return Factors(torch.eye(2), torch.tensor(matrix))


def test_scales_are_read_off_and_the_rest_is_left_over():
    problem = SiteProblem.of(NAMES, READS, WRITES, change([[2.0, 0, 1], [0, -3, 0]]))
    solve_all({"s": problem})
    assert {n: round(b, 6) for n, (b, _) in problem.terms().items()} == {"a": 2.0, "b": -3.0, "c": 0.0}
    assert problem.squared == pytest.approx(14.0)
    assert problem.explained == pytest.approx(13 / 14)


def test_the_norm_of_text_weighs_what_is_read():
    # One part reads e1 and writes e1; the change reads e1 + e2. Under S, e2 predicts e1 by 1/2.
    second = torch.tensor([[1.0, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])
    one = SiteProblem.of(["a"], READS[:, :1], WRITES[:1], change([[1.0, 1, 0], [0, 0, 0]]), second)
    solve_all({"s": one})
    assert one.terms()["a"][0] == pytest.approx(1.5)
    assert one.squared == pytest.approx(3.0)
    assert one.explained == pytest.approx(1.5**2 / 3)


def test_parts_that_depend_on_each_other_still_give_the_least():
    reads, writes = READS[:, [0, 0]], WRITES[[0, 0]]
    problem = SiteProblem.of(["a", "again"], reads, writes, change([[2.0, 0, 0], [0, 0, 0]]))
    solve_all({"s": problem})
    assert problem.explained == pytest.approx(1.0)
    assert sum(beta for beta, _ in problem.terms().values()) == pytest.approx(2.0)


def test_the_greedy_choice_takes_the_largest_over_all_sites_and_stops_where_nothing_is_left():
    problems = {
        "s": SiteProblem.of(NAMES, READS, WRITES, change([[2.0, 0, 0], [0, -3, 0]])),
        "t": SiteProblem.of(NAMES, READS, WRITES, change([[0.0, 2.5, 0], [0, 0, 0]])),
    }
    solve_sparsely(problems, 2)
    assert {s: list(p.terms()) for s, p in problems.items()} == {"s": ["b"], "t": ["c"]}
    solve_sparsely(problems, 10)
    assert {s: sorted(p.terms()) for s, p in problems.items()} == {"s": ["a", "b"], "t": ["c"]}


def test_what_rounding_leaves_is_no_reason_for_another_part():
    generator = torch.Generator().manual_seed(0)
    reads, writes = (torch.randn(shape, generator=generator) for shape in ((8, 5), (5, 6)))
    one = Factors(0.3 * writes[1][:, None], reads[:, 1][None])
    problem = SiteProblem.of([*"abcde"], reads, writes, one)
    solve_sparsely({"s": problem}, 5)
    assert list(problem.terms()) == ["b"]


def test_a_part_that_is_zero_gains_nothing():
    problem = SiteProblem.of(
        ["zero", "a"], READS[:, [2, 0]] * 0, WRITES[:2] * 0, change([[2.0, 0, 0], [0, 0, 0]])
    )
    assert problem.gains().tolist() == [0.0, 0.0]


def test_a_gain_does_not_depend_on_the_length_of_a_part():
    """What is left is lowered by (u·ΔW v)² over the squared norm of u vᵀ: 4 and 9, whatever the parts' lengths."""
    reads, writes = READS[:, :2] * torch.tensor([10.0, 1.0]), WRITES[:2] * torch.tensor([[0.5], [0.01]])
    problem = SiteProblem.of(["a", "b"], reads, writes, change([[2.0, 0, 0], [0, -3, 0]]))
    assert problem.gains().tolist() == pytest.approx([4.0, 9.0])


def test_copies_of_a_part_that_differ_by_rounding_do_not_run_up_against_each_other():
    """Without a ridge their β are 3.6e8 here."""
    generator = torch.Generator().manual_seed(352)
    count = int(torch.randint(2, 8, (1,), generator=generator))
    read, write = (torch.randn(6, generator=generator) for _ in range(2))
    one, other = (torch.rand(count, generator=generator) + 0.5 for _ in range(2))
    made = Factors(torch.randn(6, 1, generator=generator), torch.randn(1, 6, generator=generator))
    problem = SiteProblem.of([*"abcdefgh"[:count]], read[:, None] * one, write * other[:, None], made)
    solve_all({"s": problem})
    assert problem.beta.abs().max() < 1e6


def test_a_site_without_change_or_parts_is_no_trouble():
    nothing = SiteProblem.of(NAMES, READS, WRITES, change([[0.0, 0, 0], [0, 0, 0]]))
    empty = SiteProblem.of([], torch.zeros(3, 0), torch.zeros(0, 2), change([[1.0, 0, 0], [0, 0, 0]]))
    solve_all({"s": nothing, "t": empty})
    solve_sparsely({"s": nothing, "t": empty}, 3)
    assert (nothing.explained, empty.explained) == (1.0, 0.0)
