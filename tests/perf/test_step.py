"""The figures of the benchmark's table, from results worked out by hand; and that every case can be built."""

from __future__ import annotations

import sys

import pytest
from perf.cases import Case, Size, build
from perf.environment import environment

from perf import cases, step

TINY = Size(
    {
        "vocab_size": 30,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "max_position_embeddings": 16,
    },
    {},
    {"width": 8, "blocks": 1, "heads": 2, "hidden": 12},
    "aligned",
)


def result(implementation, seconds, cpu, peak, flops):
    return {
        "size": "mini",
        "implementation": implementation,
        "compile": True,
        "device": "cuda",
        "start_bytes": 5e8,
        "median_seconds": seconds,
        "median_cpu_seconds": cpu,
        "peak_bytes": peak,
        "flops": flops,
    }


def test_ratios_are_to_the_plain_step_of_the_same_size():
    results = [result("plain", 8.0, 6.0, 4e9, 3e12), result("merged", 2.0, 1.0, 1e9, 1e12)]
    plain, merged = step.table(results, {"flops_per_second": 1e12})
    assert plain == ["mini plain", 8.0, 1.0, 6.0, 1.0, 4.0, 1.0, 1.0, 3.0, 3 / 8]
    assert merged == ["mini merged", 2.0, 4.0, 1.0, 6.0, 1.0, 0.25, 1 / 7, 1.0, 0.5]


def test_one_thread_is_compared_with_the_ceiling_in_processor_seconds(monkeypatch):
    monkeypatch.setattr(step.torch, "get_num_threads", lambda: 1)
    (row,) = step.table(
        [result("plain", 8.0, 6.0, 4e9, 3e12) | {"device": "cpu"}], {"flops_per_second": 1e12}
    )
    assert row[-1] == 0.5


def test_a_case_that_failed_is_a_row_and_no_yardstick():
    failed = {"size": "mini", "implementation": "plain", "compile": True, "failed": "out of memory"}
    rows = step.table([failed, result("merged", 2.0, 1.0, 1e9, 1e12)], {"flops_per_second": 1e12})
    assert rows[0][:2] == ["mini plain", "out of memory"]
    assert rows[1][2] is None
    assert len(rows[0]) == len(rows[1])


@pytest.mark.parametrize("implementation", cases.IMPLEMENTATIONS)
def test_every_implementation_is_built_timed_and_counted(monkeypatch, implementation):
    monkeypatch.setitem(cases.SIZES, "tiny", TINY)
    monkeypatch.setattr(step, "cores_allowed", lambda: 1)  # beside other tests threads wait for each other
    found = step.measure(Case("tiny", implementation, 2, 9, 2, "cpu", compile=False), profile=True)
    assert len(found["seconds"]) == 2
    assert found["flops"] > 0
    assert found["peak_bytes"] > 0
    assert found["profile"]
    assert found["losses"]["faithfulness"] < 1e-6


def test_plain_executes_more_operations_than_separate_and_that_more_than_merged(monkeypatch):
    monkeypatch.setitem(cases.SIZES, "tiny", TINY)
    flops = []
    for implementation in cases.IMPLEMENTATIONS:
        ready = build(Case("tiny", implementation, 2, 9, 1, "cpu", compile=False))
        with ready.within:
            flops.append(step.count_flops(lambda ready=ready: ready.step(0)))
    plain, separate, merged = flops
    assert plain > separate > 2 * merged


def test_the_same_parameters_are_trained(monkeypatch):
    monkeypatch.setitem(cases.SIZES, "tiny", TINY)
    sizes = {build(Case("tiny", i, 2, 9, 1, "cpu", compile=False)).parameters for i in cases.IMPLEMENTATIONS}
    assert len(sizes) == 1


def test_cases_come_from_the_command_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["step", "--quick", "--sizes", "mini", "--rows", "3"])
    found = step._cases(step._options(), "cpu")
    assert [c.implementation for c in found] == ["plain", "separate", "merged"]
    assert {(c.rows, c.context, c.compile) for c in found} == {(3, 128, True)}
    on_gpu = step._cases(step._options(), "cuda")
    assert [c.compile for c in on_gpu] == [True, True, False, True, False]


def test_the_environment_names_what_a_timing_depends_on():
    found = environment()
    wanted = {"processor", "cores", "threads", "versions", "git_revision", "dirty", "created", "load_average"}
    assert wanted <= found.keys()
    assert isinstance(found["dirty"], bool)
