"""The registry of methods: found from the folder, two starts each, and sizes that scale the change."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import probe, simple_mlp

from rankone.core.errors import RankOneError
from rankone.edits.adapters import adapted
from rankone.edits.fitting.passes.forward import LowRankChange
from rankone.edits.methods.best_coordinate import answering
from rankone.edits.methods.coordinate import coordinate_of
from rankone.edits.methods.kind import Target
from rankone.edits.methods.registry import kind_named, kinds, method_names
from rankone.edits.methods.rivals.pruned import selective
from rankone.edits.scales import scale_edit
from rankone.models.anatomy import leaf_of
from rankone.models.sites import site_named, weight_of
from rankone.parts.moments import collect_moments
from rankone.text.blocks import Blocks


@pytest.fixture(scope="module")
def target():
    model = simple_mlp()
    parts = decomposed(model, "random")
    chosen = ["h.1.mlp.down_proj:3"]
    several = [*parts.names()[:70], "h.1.mlp.down_proj:4", "h.1.mlp.down_proj:7"]

    def moments(sites):
        return tuple(
            collect_moments(model, sites, ids, ids >= 0) for ids in (probe(2, 9), probe(3, 8, seed=1))
        )

    sharpened = lambda: parts.chosen(chosen)  # noqa: E731
    return Target(
        model,
        parts,
        chosen[0],
        several,
        sharpened,
        moments,
        parts.names()[5:40],
        labelled=lambda: parts.names()[3:6],
        steepest=lambda: parts.names()[7:30],
        component=lambda: [chosen[0], parts.names()[8], parts.names()[2]],
        best_of=lambda candidates: candidates.names()[-1],
        texts=lambda: {
            domain: Blocks(ids, torch.ones_like(ids, dtype=torch.bool))
            for domain, ids in (("de", probe(2, 9)), ("en", probe(3, 8, seed=1)))
        },
    )


ORDER = (
    *("scalar", "sharpened", "neuron", "top16", "lora_r1", "lora_r1_local", "lora_r4", "lora_r16"),
    *("read", "spanned", "write", "write_read", "ia3", "full", "full_local"),
    *("ascent", "grad_diff", "npo", "rmu", "simnpo", "task_vector", "lape", "means_ablated", "pruned"),
    *("sae_ablated", "sae_baked", "sae_scaled"),
    *("scalar_inverted", "scalar_positive", "scalar_zero", "steering", "steering_conditional"),
    *("component", "l1", "labelled16", "specific16", "steepest16", "top4", "top64"),
    *("best_channel", "best_neuron", "contrast", "discriminant", "random", "random_part", "singular"),
)
# Those that need a sparse coder have tests of their own (rivals/test_sae.py).
HERE = [name for name in ORDER if not name.startswith("sae_")]
# Changes of weights; steering adds to activations (rivals/test_steering.py).
WEIGHTS = [name for name in HERE if kinds()[name].weights]
# Those whose change can be multiplied by anything: no scale of `scalar_positive` falls below 0.
LINEAR = [name for name in WEIGHTS if name != "scalar_positive"]
TRAINED = [name for name in HERE if kinds()[name].trained]


def test_the_methods_are_those_of_the_folder():
    assert tuple(kinds()) == ORDER
    assert {kind.slot for kind in kinds().values()} <= set(range(8))


def test_the_names_are_read_without_importing_a_method():
    assert sorted(method_names()) == sorted(ORDER)


def test_an_unknown_method_offers_the_nearest():
    with pytest.raises(RankOneError, match=r"unknown method 'lora'. Nearest: lora_r.* There are "):
        kind_named("lora")


@pytest.mark.parametrize("name", TRAINED)
def test_every_method_has_two_starts_that_differ(name, target):
    starts = kinds()[name].starts(target)
    assert len(starts) == 2
    first, second = (s.start(1, [0]) for s in starts)
    assert any(not torch.equal(first[k], second[k]) for k in first)
    own = {"ascent", "grad_diff", "npo", "simnpo", "task_vector"}
    assert all(s.name == ("lora_r1" if name in own else name) for s in starts)


class _Watched:
    """A target that notes what is asked of it."""

    def __init__(self, target):
        self.asked, self._target = set(), target

    def __getattr__(self, name):
        self.asked.add(name)
        return getattr(self._target, name)


@pytest.mark.parametrize("name", HERE)
def test_a_method_says_what_was_read_before_its_fits(name, target):
    """Of the decomposition whatever turns or lies at a part of it; of text whatever asks for it."""
    watched = _Watched(target)
    kinds()[name].starts(watched)
    of_parts = {
        "parts",
        "single",
        "site",
        "several",
        "specific",
        "labelled",
        "steepest",
        "component",
        "sharpened",
    }
    of_text = {"moments", "texts", "best_of", "require_moments", "require_texts"}
    spends = "part" if watched.asked & of_parts else "text" if watched.asked & of_text else "nothing"
    assert kinds()[name].spends == spends


@pytest.mark.parametrize("name", LINEAR)
def test_a_size_scales_the_change(name, target):
    method = kinds()[name].starts(target)[0]
    generator = torch.Generator().manual_seed(0)
    drawn = {k: torch.randn(v.shape, generator=generator) for k, v in method.start(1, [0]).items()}
    edit, larger = method.edit(drawn, 0), method.edit(method.resized(drawn, 2.5), 0)
    assert edit.sites == larger.sites
    for site in edit.sites:
        own, other = (e.factors[site].write @ e.factors[site].read for e in (edit, larger))
        torch.testing.assert_close(2.5 * own, other, rtol=1e-4, atol=1e-5)


def test_only_one_scale_is_a_direction_without_a_fit(target):
    fixed = {name for name in WEIGHTS if kinds()[name].trained and kinds()[name].starts(target)[0].fixed}
    one = {name for name in WEIGHTS if kinds()[name].one_scale and kinds()[name].trained}
    assert fixed == one
    assert {"scalar", "neuron", "random", "discriminant"} <= one


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_edit_changes_the_model_as_the_stack_does(name, target):
    """Two runs in one forward equal two models whose weights hold the edits."""
    method = kinds()[name].starts(target)[0]
    generator = torch.Generator().manual_seed(1)
    start = {k: p.detach() for k, p in method.start(2, [0, 1]).items()}
    drawn = {k: p + 0.1 * torch.randn(p.shape, generator=generator) for k, p in start.items()}
    ids = probe(2, 7)
    with adapted(target.model, method, drawn, 2), torch.no_grad():
        together = target.model(ids.repeat(2, 1)).logits.unflatten(0, (2, -1))
    for run in range(2):
        with method.edit(drawn, run).applied(target.model), torch.no_grad():
            alone = target.model(ids).logits
        torch.testing.assert_close(together[run], alone, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", HERE)
def test_the_two_halves_of_a_change_are_the_change(name, target):
    method = kinds()[name].starts(target)[0]
    if not isinstance(method, LowRankChange):
        pytest.skip("it has no halves")
    drawn = {k: torch.randn(p.shape) for k, p in method.start(2, [0, 1]).items()}
    for site in method.sites():
        x = torch.randn(2, 5, site_named(target.model, site).d_in)
        expected = method.change(site, drawn, x)
        found = method.inner(site, drawn, x) @ method.outer(site, drawn)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        shared = method.inner(site, drawn, x[:1])
        torch.testing.assert_close(shared[-1], method.inner(site, drawn, x[:1].expand(2, -1, -1))[-1])


def test_a_positive_scale_is_suppressed_or_amplified_never_inverted(target):
    method = kind_named("scalar_positive").starts(target)[0]
    assert method.scales({"alpha": torch.tensor([[-0.25]])}, 0) == {target.single: 0.25}
    assert method.resized({"alpha": torch.tensor([0.5])}, 4.0)["alpha"].tolist() == [0.0]
    assert method.resized({"alpha": torch.tensor([3.0])}, 2.0)["alpha"].tolist() == [5.0]


@pytest.mark.parametrize(("name", "alpha"), [("scalar_zero", 0.0), ("scalar_inverted", -1.0)])
def test_scales_that_are_set(target, name, alpha):
    (method,) = kind_named(name).starts(target)
    assert method.scales(method.start(1, [0]), 0) == {target.single: alpha}


def test_trained_sides_turn_the_part(target):
    """W + ΔW holds (u + δu)(v + δv)ᵀ in place of u vᵀ."""
    method = kind_named("write_read").starts(target)[0]
    v, u = target.parts.vectors(target.single)
    drawn = {"write": torch.randn(1, len(u)), "read": torch.randn(1, len(v))}
    (factors,) = method.edit(drawn, 0).factors.values()
    expected = torch.outer(u + drawn["write"][0], v + drawn["read"][0]) - torch.outer(u, v)
    torch.testing.assert_close(factors.write @ factors.read, expected)


def test_a_span_is_of_parts_that_write_as_wide(target):
    method = kind_named("spanned").starts(target)[0]
    u = target.parts.vectors(target.single)[1]
    assert method.basis.shape[1] == len(u)
    assert torch.equal(method.basis[0], u)


def test_ia3_scales_keys_values_and_what_mlp_outputs_read(target):
    method = kind_named("ia3").starts(target)[0]
    assert {leaf_of(site) for site in method.sites()} == {"k_proj", "v_proj", "down_proj"}
    start = {k: p.detach() for k, p in method.start(1, [0]).items()}
    start["l:h.0.mlp.down_proj"][0, 3] = 3.0
    factors = method.edit(start, 0).factors["h.0.mlp.down_proj"]
    weight = weight_of(site_named(target.model, "h.0.mlp.down_proj"))
    expected = torch.zeros_like(weight)
    expected[:, 3] = 2 * weight[:, 3]
    torch.testing.assert_close(factors.write @ factors.read, expected)


def test_selective_pruning_takes_out_the_neurons_that_answer_most_to_the_forget_text(target):
    """2% of 80 neurons are two: those with the largest ratio of mean squares."""
    sites = [site_named(target.model, f"h.{i}.mlp.down_proj") for i in range(2)]
    wanted, others = target.moments(sites)
    ratios = {
        f"neuron/{s.name}:{i}": float(wanted[s.name].mean_square[i] / others[s.name].mean_square[i])
        for s in sites
        for i in range(40)
    }
    assert selective(target) == sorted(ratios, key=lambda name: -ratios[name])[:2]
    (method,) = kind_named("pruned").starts(target)
    assert set(method.scales(method.start(1, [0]), 0).values()) == {0.0}


def test_controls_lie_in_the_parts_own_matrix(target):
    for name in ("random", "singular", "contrast", "discriminant"):
        (site,) = kind_named(name).starts(target)[0].sites()
        assert site == target.site
    ablated = kind_named("means_ablated").starts(target)[0]
    assert {leaf_of(site) for site in ablated.sites()} == {"o_proj", "down_proj"}


@pytest.mark.parametrize(("origin", "leaf"), [("neuron", "down_proj"), ("channel", "o_proj")])
def test_the_best_coordinate_is_measured_among_those_that_answer_most(target, origin, leaf):
    """The ratio is of mean squares, a hundredth of the site's mean added below; of ten the measured best is turned."""
    candidates = answering(target, origin)
    sites = [
        site_named(target.model, f"h.{i}.{'mlp' if origin == 'neuron' else 'attn'}.{leaf}") for i in range(2)
    ]
    wanted, others = target.moments(sites)
    ratios = {}
    for site in sites:
        square = others[site.name].mean_square
        ratio = wanted[site.name].mean_square / (square + 0.01 * square.mean())
        ratios |= {f"{origin}/{site.name}:{i}": float(r) for i, r in enumerate(ratio)}
    assert set(candidates.names()) == set(sorted(ratios, key=lambda name: -ratios[name])[:10])
    first, _ = kind_named(f"best_{origin}").starts(target)
    assert first.components == [candidates.names()[-1]]


def test_sparse_scales_leave_what_hardly_moved_and_a_small_size_turns_no_fewer(target):
    method, inverted = kind_named("l1").starts(target)
    drawn = {"alpha": torch.ones(1, len(method.components))}
    drawn["alpha"][0, :3] = torch.tensor([1.1, 0.5, -4.0])
    assert method.alphas(drawn)[0, :4].tolist() == [1.0, 0.5, -4.0, 1.0]
    assert method.price(drawn).item() == pytest.approx(0.01 * (0.1 + 0.5 + 5.0))
    small = {k: v.unsqueeze(0) for k, v in method.resized({"alpha": drawn["alpha"][0]}, 0.1).items()}
    torch.testing.assert_close(method.alphas(small)[0, :4], torch.tensor([1.0, 0.95, 0.5, 1.0]))
    start = inverted.start(1, [0])["alpha"][0]
    assert start[method.components.index(target.single)] == -2
    assert (start != 1).sum() == 1


def test_the_price_of_sparse_scales_is_part_of_the_loss_and_passes_through_the_cut(target):
    method = kind_named("l1").starts(target)[0]
    alpha = torch.full((1, len(method.components)), 1.05, requires_grad=True)
    method.alphas({"alpha": alpha}).sum().backward()
    assert torch.equal(alpha.grad, torch.ones_like(alpha))


def test_the_members_of_a_component_share_one_scale(target):
    method = kind_named("component").starts(target)[0]
    edit = method.edit({"alpha": torch.tensor([[-2.0]])}, 0)
    each = scale_edit(target.parts, dict.fromkeys(target.component(), -2.0))
    assert edit.sites == each.sites
    for site in edit.sites:
        one, other = (e.factors[site].write @ e.factors[site].read for e in (edit, each))
        torch.testing.assert_close(one, other)
    with pytest.raises(RankOneError, match="is a component by itself here"):
        kind_named("component").starts(Target(target.model, target.parts, target.single))


def test_a_random_part_is_another_of_the_same_matrix(target):
    (name,) = kind_named("random_part").starts(target)[0].components
    assert name != target.single
    assert target.parts.locate(name)[0] == target.site
    lonely = Target(target.model, target.parts.chosen([target.single]), target.single)
    with pytest.raises(RankOneError, match="the only part of its matrix"):
        kind_named("random_part").starts(lonely)


def test_a_method_that_reads_text_says_so_where_there_is_none(target):
    bare = Target(target.model, target.parts, target.single)
    for name in ("contrast", "pruned", "means_ablated"):
        with pytest.raises(RankOneError, match="needs text to read: run it as a job"):
            kind_named(name).starts(bare)
    for name in ("lape", "steering"):
        with pytest.raises(RankOneError, match=f"'{name}' needs text to read"):
            kind_named(name).starts(bare)
    for name in ("top4", "labelled16", "steepest16"):
        with pytest.raises(RankOneError, match=f"'{name}' needs parts that are ranked"):
            kind_named(name).starts(bare)
    with pytest.raises(RankOneError, match="'best_neuron' measures candidates: run it as a job"):
        kind_named("best_neuron").starts(bare)


@pytest.mark.parametrize(
    ("single", "origin", "hidden"),
    [
        ("h.1.mlp.down_proj:3", "neuron", "v"),
        ("h.0.mlp.c_fc:5", "neuron", "u"),
        ("h.1.attn.v_proj:2", "channel", "u"),
    ],
)
def test_the_control_is_the_largest_coordinate_of_the_hidden_side(target, single, origin, hidden):
    own = Target(target.model, target.parts, single)
    largest = int(getattr(target.parts.vectors(single), hidden).abs().argmax())
    assert coordinate_of(own) == f"{origin}/{own.site}:{largest}"
    edit = kind_named("neuron").starts(own)[0].edit({"alpha": torch.tensor([[0.0]])}, 0)
    change = edit.factors[own.site].write @ edit.factors[own.site].read
    weight = weight_of(site_named(target.model, own.site))
    expected = torch.zeros_like(weight)
    if hidden == "v":
        expected[:, largest] = -weight[:, largest]
    else:
        expected[largest] = -weight[largest]
    torch.testing.assert_close(change, expected)


@pytest.mark.parametrize(
    ("name", "rank"), [("lora_r1", 1), ("lora_r1_local", 1), ("lora_r4", 4), ("lora_r16", 16)]
)
def test_a_lora_has_the_rank_it_is_called_by(target, name, rank):
    assert [start.rank for start in kind_named(name).starts(target)] == [rank, rank]


@pytest.mark.parametrize(
    ("name", "alphas"),
    [("scalar", [-2, 4]), ("scalar_positive", [0.5, 4]), ("scalar_zero", [0]), ("scalar_inverted", [-1])],
)
def test_one_scale_starts_where_it_is_said(target, name, alphas):
    begun = [float(start.start(1, [0])["alpha"].flatten()[0]) for start in kind_named(name).starts(target)]
    assert begun == alphas
