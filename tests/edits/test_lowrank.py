"""LowRankEdit: algebra, exact undo, merge figures against hand computation, artefacts, refusals."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import gpt2, llama, probe, random_edit, same, simple_mlp, snapshot
from torch import nn

from rankone.core.errors import RankOneError
from rankone.edits.lowrank import Factors, LowRankEdit
from rankone.models.sites import site_named, weight_of

C_FC, Q = "h.0.mlp.c_fc", "h.1.attn.q_proj"


def one_edit(d_out=40, d_in=24, rank=2, name=C_FC, **kwargs) -> LowRankEdit:
    return LowRankEdit({name: Factors(torch.randn(d_out, rank), torch.randn(rank, d_in))}, **kwargs)


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(probe()).logits


class Tower(nn.Module):
    """The smallest model with a site: one Linear in a list of blocks."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.h = nn.ModuleList([nn.Linear(d_in, d_out, bias=False, dtype=torch.float64)])

    def forward(self, x):
        return self.h[0](x)


def test_an_edit_is_itself_alone_and_can_be_a_key():
    edit = one_edit()
    assert {edit: 1}[edit] == 1
    assert edit != edit.scale(1.0)
    with pytest.raises(FrozenInstanceError):
        edit.method = "another"


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 4), st.integers(0, 2**32))
def test_edited_map_is_the_sum_of_both_maps(d_in, d_out, rank, seed):
    generator = torch.Generator().manual_seed(seed)
    write, read, x, weight = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((d_out, rank), (rank, d_in), (3, d_in), (d_out, d_in))
    )
    model = Tower(d_in, d_out)
    model.h[0].weight.data = weight.clone()
    with LowRankEdit({"h.0": Factors(write, read)}).applied(model):
        edited = model(x)
    assert torch.allclose(edited, x @ weight.T + (x @ read.T) @ write.T, atol=1e-12, rtol=0)
    assert torch.equal(model.h[0].weight, weight)


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(4)), st.lists(st.floats(-3, 3), min_size=4, max_size=4))
def test_adding_commutes_and_scaling_is_linear(order, scales):
    model = Tower(6, 5)
    parts = [one_edit(5, 6, rank=i, name="h.0").scale(s) for i, s in enumerate(scales)]

    def total(indices):
        edit = parts[indices[0]]
        for i in indices[1:]:
            edit = edit + parts[i]
        with edit.applied(model):
            return model.h[0].weight.detach().clone()

    expected = model.h[0].weight.double() + sum(p.factors["h.0"].product(model.h[0].weight) for p in parts)
    assert torch.allclose(total(order), expected, atol=1e-5)
    assert torch.allclose(total(order), total(range(4)), atol=1e-5)


@pytest.mark.parametrize("build", [simple_mlp, gpt2, llama])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_apply_changes_and_restores_to_the_bit(build, dtype):
    model = build().to(dtype)
    before, plain = snapshot(model), logits(model)
    edit = random_edit(model, {"*": 2})
    pointers = {name: p.data_ptr() for name, p in model.named_parameters()}
    with edit.applied(model):
        assert not torch.equal(logits(model), plain)
        for name in edit.sites:
            product = (edit.factors[name].write @ edit.factors[name].read).float()
            weight = before[f"{name}.weight"].float()
            expected = (weight + (product.T if build is gpt2 else product)).to(dtype)
            assert torch.allclose(model.get_submodule(name).weight, expected, atol=1e-6, rtol=0.01)
    assert same(model, before)
    assert torch.equal(logits(model), plain)
    assert pointers == {name: p.data_ptr() for name, p in model.named_parameters()}


def test_weights_come_back_after_an_exception():
    model = simple_mlp()
    before = snapshot(model)
    with pytest.raises(KeyError), one_edit().applied(model):
        raise KeyError
    assert same(model, before)


def test_nested_and_repeated_application():
    model = simple_mlp()
    before = snapshot(model)
    first, second = one_edit(), random_edit(model, {"h.0.mlp.*": 1})
    with (first + second).applied(model):
        both = logits(model)
    with first.applied(model):
        inside = snapshot(model)
        with second.applied(model):
            assert torch.allclose(logits(model), both, atol=1e-4)
        assert same(model, inside)
    with first.scale(2).applied(model):
        twice = logits(model)
    first.apply(model)
    first.apply(model)
    assert torch.allclose(logits(model), twice, atol=1e-4)
    first.remove(model)
    assert same(model, inside)
    first.remove(model)
    assert same(model, before)


def test_a_scaled_edit_says_so():
    edit = one_edit(description="a × −16")
    assert edit.scale(0.5).description == "0.5 × (a × −16)"
    assert edit.invert().description == "-1 × (a × −16)"
    assert one_edit(description="").scale(2).description == ""


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda e, m: e.scale("x"), "scaled by a finite number, not 'x'"),
        (lambda e, m: e.scale(float("nan")), "finite number, not nan"),
        (lambda e, m: e.scale(True), "finite number, not True"),
        (lambda e, m: e.compose("runs/german"), "compose takes an edit, not 'runs/german'.*from_pretrained"),
        (lambda e, m: e.apply("mini"), "changes a model .* not 'mini'"),
        (lambda e, m: e.remove(None), "changes a model .* not None"),
        (lambda e, m: e.applied(3).__enter__(), "changes a model .* not 3"),
        (lambda e, m: e.bind({}), "changes a model"),
        (lambda e, m: e.merge("mini"), "changes a model"),
        (lambda e, m: e.merge(m, dtype="bfloat16"), "not 'bfloat16': write torch.bfloat16"),
    ],
)
def test_what_is_no_edit_model_or_number_is_named(call, said):
    model = simple_mlp()
    before = snapshot(model)
    with pytest.raises(RankOneError, match=said):
        call(one_edit(description="first"), model)
    assert same(model, before)


def test_removing_in_the_wrong_order_or_what_is_not_attached_is_refused():
    model = simple_mlp()
    first, second = one_edit(description="first"), one_edit(description="second")
    with pytest.raises(RankOneError, match="edit 'first' is not applied"):
        first.remove(model)
    first.apply(model)
    second.apply(model)
    with pytest.raises(RankOneError, match="edit 'second' was applied after edit 'first': remove it first"):
        first.remove(model)
    second.remove(model)
    first.remove(model)
    with pytest.raises(RankOneError, match="not applied"):
        first.remove(model)


def test_a_refused_attach_changes_nothing():
    model = simple_mlp().half()
    before = snapshot(model)
    factors = {
        C_FC: Factors(torch.ones(40, 1), torch.ones(1, 24)),
        Q: Factors(torch.full((24, 1), 300.0), torch.full((1, 24), 300.0)),
    }
    edit = LowRankEdit(factors)
    with pytest.raises(
        RankOneError, match=r"'h\.1\.attn\.q_proj' gives NaN or infinity.*change is too large"
    ):
        edit.apply(model)
    with pytest.raises(RankOneError, match="too large"):
        edit.merge(model, in_place=True)
    assert same(model, before)
    with pytest.raises(RankOneError, match="not applied"):
        edit.remove(model)
    simple = simple_mlp()
    with torch.no_grad():
        simple.get_submodule(Q).weight[0, 0] = float("nan")
    with pytest.raises(RankOneError, match="the weight itself is not finite"):
        edit.apply(simple)


@pytest.mark.parametrize(
    ("write", "read", "message"),
    [
        (torch.ones(40, 2), torch.ones(1, 24), "do not fit: write \\(40, 2\\), read \\(1, 24\\)"),
        (torch.ones(40), torch.ones(1, 24), "do not fit"),
        (torch.full((40, 1), float("nan")), torch.ones(1, 24), "NaN or infinity"),
        (torch.ones(40, 1), torch.full((1, 24), float("inf")), "NaN or infinity"),
        (torch.ones(40, 1, dtype=torch.long), torch.ones(1, 24), "must be real numbers"),
    ],
)
def test_bad_factors_are_refused(write, read, message):
    with pytest.raises(RankOneError, match=message):
        LowRankEdit({C_FC: Factors(write, read)})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lm_head", "tied to the embedding"),
        ("wte", "it is an embedding"),
        ("h.0.mlp.c_fx", "Nearest: h.0.mlp.c_fc"),
        ("h.0.mlp.down_proj", r"is \[40, 24\], but the weight is \[24, 40\]"),
    ],
)
def test_tied_missing_and_misshapen_sites_are_refused(name, message):
    model = simple_mlp()
    before = snapshot(model)
    edit = one_edit(name=name)
    for use in (edit.apply, edit.merge, edit.bind, lambda m: edit.merge(m, torch.bfloat16, in_place=True)):
        with pytest.raises(RankOneError, match=message):
            use(model)
    assert same(model, before)


def test_factors_are_copies_and_rank_is_reported():
    write, read = torch.ones(40, 3, dtype=torch.bfloat16), torch.ones(3, 24)
    edit = LowRankEdit({C_FC: Factors(write, read)})
    write.zero_()
    read.zero_()
    assert edit.factors[C_FC].write.dtype == torch.float32
    assert edit.factors[C_FC].write.sum() == 120
    assert edit.factors[C_FC].read.sum() == 72
    assert edit.rank(C_FC) == 3
    assert (edit + edit).rank(C_FC) == 6
    with pytest.raises(RankOneError, match=r"does not change 'h.0.mlp.c_fcx'. Nearest: h.0.mlp.c_fc"):
        edit.rank("h.0.mlp.c_fcx")


@pytest.mark.parametrize("build", [simple_mlp, gpt2, llama])
def test_merge_equals_apply(build):
    model = build()
    before, edit = snapshot(model), random_edit(build(), {"*": 2})
    merged, report = edit.merge(model)
    assert same(model, before)
    with edit.applied(model):
        assert torch.equal(logits(merged), logits(model))
    for line in report.sites:
        assert line.changed > 0.99 * line.entries
        assert line.norm_ratio == pytest.approx(1, abs=1e-4)
        assert line.survived == pytest.approx(1, abs=1e-4)
    assert report.dtype == "float32"
    in_place, _ = edit.merge(model, in_place=True)
    assert in_place is model
    assert torch.equal(logits(model), logits(merged))


def test_merge_figures_equal_hand_computation():
    model = Tower(2, 2)
    # bf16 keeps 8 bits: near 1 the step is 2⁻⁷ = 0.0078125 and half of it is rounded to even.
    model.h[0].weight.data = torch.ones(2, 2)
    delta = torch.tensor([[0.001, 0.006], [0.0078125, 0.012]])
    edit = LowRankEdit({"h.0": Factors(delta, torch.eye(2))})
    merged, report = edit.merge(model, torch.bfloat16)
    step = 0.0078125
    arrived = torch.tensor([[0, step], [step, 2 * step]])
    assert torch.equal(merged.h[0].weight.float() - 1, arrived)
    (line,) = report.sites
    assert (line.name, line.entries, line.changed) == ("h.0", 4, 3)
    assert line.norm_ratio == pytest.approx(float(arrived.norm() / delta.norm()), rel=1e-6)
    assert line.survived == pytest.approx(float((arrived * delta).sum() / delta.pow(2).sum()), rel=1e-6)
    assert report.worst == line.survived
    assert json.loads(json.dumps(report.model_dump()))["sites"][0]["changed"] == 3


def test_a_change_below_the_rounding_step_is_reported_as_lost():
    model = simple_mlp().to(torch.bfloat16)
    with torch.no_grad():
        model.get_submodule(C_FC).weight.fill_(1.0)
    _, report = LowRankEdit({C_FC: Factors(torch.full((40, 1), 1e-4), torch.ones(1, 24))}).merge(model)
    assert (report.sites[0].changed, report.sites[0].norm_ratio, report.worst) == (0, 0.0, 0.0)
    assert report.dtype == "bfloat16"


def test_merge_keeps_ties_and_rotary_tables_and_rounds_the_rest():
    model = llama()
    merged, _ = random_edit(model, {"*.mlp.*": 1}).merge(model, torch.bfloat16)
    assert {p.dtype for p in merged.parameters()} == {torch.bfloat16}
    assert {b.dtype for b in merged.buffers()} == {torch.float32}
    tied, _ = one_edit().merge(simple_mlp(), torch.bfloat16)
    assert tied.lm_head.weight is tied.wte.weight


def test_an_edit_that_changes_nothing():
    model = simple_mlp()
    before = snapshot(model)
    empty = one_edit(rank=0)
    with empty.applied(model):
        assert same(model, before)
    _, report = empty.merge(model)
    assert (report.sites[0].changed, report.sites[0].norm_ratio, report.worst) == (0, 1.0, 1.0)


def test_merge_refuses_a_model_with_edits_attached():
    model, edit = simple_mlp(), one_edit(description="probe")
    with edit.applied(model), pytest.raises(RankOneError, match=r"edit 'probe' is applied.*add the edits"):
        edit.merge(model)


def test_save_and_load(tmp_path):
    model = simple_mlp()
    edit = random_edit(model, {"h.0.*": 2, "h.1.mlp.c_fc": 0}).bind(model)
    edit.save_pretrained(tmp_path / "e", {"seed": 3})
    again = LowRankEdit.from_pretrained(tmp_path / "e")
    assert again.sites == edit.sites
    assert (again.description, again.method, again.base) == (edit.description, "test", edit.base)
    for name in edit.sites:
        assert torch.equal(again.factors[name].write, edit.factors[name].write)
        assert torch.equal(again.factors[name].read, edit.factors[name].read)
    again.check_base(model)
    assert json.loads((tmp_path / "e" / "manifest.json").read_text())["provenance"]["seed"] == 3
    with pytest.raises(RankOneError, match="already exists"):
        edit.save_pretrained(tmp_path / "e")


def test_what_was_measured_is_said_of_the_model_it_was_measured_on_alone(tmp_path):
    model, other = simple_mlp(), simple_mlp()
    with torch.no_grad():
        weight_of(site_named(other, C_FC)).add_(1)
    random_edit(model, {C_FC: 1}).bind(model).save_pretrained(tmp_path / "e", {"seed": 3})
    read = LowRankEdit.from_pretrained(tmp_path / "e")
    assert read.provenance["seed"] == 3
    assert read.bind(model).provenance == read.provenance
    assert read.bind(other).provenance is None


def test_saving_needs_a_base(tmp_path):
    with pytest.raises(RankOneError, match=r"call bind\(model\) before save_pretrained"):
        one_edit().save_pretrained(tmp_path / "e")
    assert not list(tmp_path.iterdir())
    with pytest.raises(RankOneError, match=r"call bind\(model\) first"):
        one_edit().check_base(simple_mlp())


@pytest.mark.parametrize("name", ["tensors.safetensors", "config.json"])
def test_an_altered_file_is_refused(tmp_path, name):
    model = simple_mlp()
    one_edit().bind(model).save_pretrained(tmp_path / "e")
    path = tmp_path / "e" / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(RankOneError, match="altered or truncated"):
        LowRankEdit.from_pretrained(tmp_path / "e")


def test_files_that_do_not_fit_together_are_refused(tmp_path):
    from rankone.core.artifact import new_artifact, write_json
    from rankone.core.tensors import save_tensors

    def write(where, entry, tensors):
        with new_artifact(where, "edit") as staging:
            save_tensors(staging / "tensors.safetensors", tensors)
            write_json(staging / "config.json", {"description": "", "method": "", "sites": {"a": entry}})

    entry = {"d_out": 4, "d_in": 3, "rank": 1, "base_hash": "x"}
    good = {"a.write": torch.ones(4, 1), "a.read": torch.ones(1, 3)}
    write(tmp_path / "shape", {**entry, "d_out": 5}, good)
    with pytest.raises(RankOneError, match=r"is \[4, 3\], but the weight is \[5, 3\]"):
        LowRankEdit.from_pretrained(tmp_path / "shape")
    write(tmp_path / "rank", {**entry, "rank": 2}, good)
    with pytest.raises(RankOneError, match="rank"):
        LowRankEdit.from_pretrained(tmp_path / "rank")
    write(tmp_path / "names", entry, {**good, "b.write": torch.ones(1)})
    with pytest.raises(RankOneError, match=r"name different sites: b.write"):
        LowRankEdit.from_pretrained(tmp_path / "names")
    write(tmp_path / "key", {**entry, "alpha": 1}, good)
    with pytest.raises(RankOneError, match=r"unknown key sites.a.alpha"):
        LowRankEdit.from_pretrained(tmp_path / "key")


def test_weights_without_values_are_refused_by_name():
    edit = random_edit(simple_mlp(), {"h.0.*": 1})
    with torch.device("meta"):
        empty = simple_mlp()
    for work in (edit.apply, edit.merge, edit.bind, edit.check_base):
        with pytest.raises(RankOneError, match=r"weight of 'h\.0\.attn\.k_proj' has no values"):
            work(empty)


def test_a_base_hash_of_a_site_that_is_not_changed_is_refused():
    with pytest.raises(RankOneError, match=r"base hash given for 'h\.9', which the edit does not change"):
        LowRankEdit(one_edit().factors, base={"h.9": "0"})


def test_another_base_is_refused():
    edit = random_edit(simple_mlp(), {"h.0.*": 1}).bind(simple_mlp())
    other = simple_mlp(seed=1)
    with pytest.raises(RankOneError, match=r"made for another model: the weight of 'h\.0.*6 of 6 sites"):
        edit.check_base(other)
    with pytest.raises(RankOneError, match="made for another model"):
        edit.merge(other)
    with pytest.raises(RankOneError, match=r"different weights at 'h.0.attn.k_proj'"):
        edit + edit.bind(other)


def test_the_base_is_the_same_in_wider_dtypes_and_under_attached_edits():
    model = simple_mlp().to(torch.bfloat16)
    edit = one_edit().bind(model)
    assert edit.check_base(copy.deepcopy(model).float()) is edit
    with edit.applied(model), random_edit(model, {"h.0.mlp.*": 1}).applied(model):
        edit.check_base(model)
        assert edit.bind(model).base == edit.base
    with pytest.raises(RankOneError, match="another model"):
        edit.check_base(edit.merge(model, in_place=True).model)


def test_sums_and_scales_keep_the_base():
    model = simple_mlp()
    first, second = one_edit(description="a").bind(model), random_edit(model, {"h.*.mlp.c_fc": 1}).bind(model)
    both = first + second.scale(-1)
    both.check_base(model)
    assert both.description == "a + -1 × (random 0)"
    assert both.rank(C_FC) == 3
    assert weight_of(site_named(model, C_FC)).shape == (40, 24)


def test_sum_adds_edits_and_begins_at_nothing_but_0():
    model = simple_mlp()
    first, second = one_edit(description="a"), one_edit(description="b")
    plain = logits(model)
    with (first + second).applied(model):
        expected = logits(model)
    assert not torch.equal(expected, plain)
    with sum([first, second]).applied(model):
        assert torch.equal(logits(model), expected)
    for other in (1, 0.0, False, "0", None):
        with pytest.raises(TypeError, match=r"unsupported operand|can only concatenate"):
            other + first


def test_composing_takes_an_edit_that_was_made_for_the_edited_model():
    model = simple_mlp()
    first = one_edit(description="a").bind(model)
    with first.applied(model):
        edited = copy.deepcopy(model)
    second = one_edit(description="b").bind(edited)
    with pytest.raises(RankOneError, match=r"made for different weights.*first\.compose\(second\)"):
        first + second
    both = first.compose(second)
    both.check_base(model)
    expected = second.merge(edited).model
    assert torch.allclose(logits(both.merge(model).model), logits(expected), atol=1e-4)


def test_inverting_takes_an_edit_back():
    model, edit = simple_mlp(), one_edit()
    plain = logits(model)
    with (edit + edit.invert()).applied(model):
        assert torch.allclose(logits(model), plain, atol=1e-5)


def test_an_edit_of_no_site_is_kept_nowhere(tmp_path):
    """It may be asked what it does (scales that are all 1), but not saved or merged as if it did something."""
    model = simple_mlp()
    with LowRankEdit({}).applied(model):
        pass
    for keep in (lambda e: e.save_pretrained(tmp_path / "e"), lambda e: e.merge(model)):
        with pytest.raises(RankOneError, match="an edit of no site changes nothing"):
            keep(LowRankEdit({}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("values", [[[1.0]], np.ones((1, 1))], ids=["list", "array"])
def test_factors_that_are_no_tensors_are_named(values):
    with pytest.raises(
        RankOneError, match=r"factors of 'h\.0\.mlp\.c_fc' are tensors, not .*: write torch.as_tensor"
    ):
        LowRankEdit({C_FC: Factors(values, torch.ones(1, 1))})


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.float8_e4m3fn, torch.complex64])
def test_a_dtype_that_holds_no_weights_is_named(dtype):
    model = simple_mlp()
    before = snapshot(model)
    with pytest.raises(RankOneError, match=f"not merged into {dtype}, which cannot hold them"):
        one_edit().merge(model, dtype, in_place=True)
    assert same(model, before)


@pytest.mark.parametrize("factor", [10**400, -(10**400), float("nan"), float("inf")])
def test_a_scale_out_of_range_is_named_in_one_short_line(factor):
    with pytest.raises(RankOneError, match="scaled by a finite number") as caught:
        one_edit().scale(factor)
    assert len(str(caught.value)) < 120


def test_the_largest_number_is_a_scale():
    assert one_edit(rank=0).scale(-sys.float_info.max).rank(C_FC) == 0


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])  # noqa: S301
def test_a_copy_of_a_bound_edit_is_the_same_edit_of_no_model_in_memory(copied):
    model = simple_mlp()
    edit = one_edit(description="d").bind(model)
    made = copied(edit)
    assert (made.sites, made.base, made.label, made.model) == (edit.sites, edit.base, edit.label, None)
    assert torch.equal(made.factors[C_FC].write, edit.factors[C_FC].write)
    made.check_base(model)
    assert edit.model is model
