"""Training within tolerances: a step is Adam's on the stated loss, weights move as stated, and the tolerances hold."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from tests.helpers import probe, random_edit, same, simple_mlp, snapshot

from rankone.core.errors import RankOneError
from rankone.edits.fitting import size as sizes
from rankone.edits.fitting import within as within_tolerances
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.run import Run
from rankone.edits.fitting.size import Held, damages, removals
from rankone.edits.fitting.within import DECAY, Training, WithinConfig, sized_within, train_within
from rankone.edits.methods.directions import Directions
from rankone.text.blocks import Blocks

SITE = "h.1.mlp.down_proj"
AIM = Aim(forget="de", retain=("en", "fr"), chance=math.log(300), tolerance=0.05, tolerances={"fr": 0.02})


def blocks(rows: int, length: int, seed: int) -> Blocks:
    return Blocks(probe(rows, length, seed), torch.arange(length).expand(rows, length) > 0)


FORGET = blocks(2, 9, 3)
HELD = {"en": blocks(3, 9, 1), "fr": blocks(2, 9, 2)}


@pytest.fixture(scope="module")
def model():
    return simple_mlp()


def start(size: float = 0.3) -> Directions:
    return Directions(random_edit(simple_mlp(), {SITE: 1}, size=size))


def trained(model, method, measure="kl", rate=0.02, seed=0, cap=1.0, **config):
    held = Held(model, method.sites(), HELD, measure)
    aim = AIM.model_copy(update={"measure": measure})
    return Training(
        model, method, Run(FORGET, seed, 1.0, rate, cap), held, aim, WithinConfig(**config)
    ).round()


def losses(model, edit):
    """(mean of min(CE, chance) of the forget text, KL and rise of every domain) by the edited model's own logits."""

    def log_probs(ids, edited):
        weight = model.get_submodule(SITE).weight
        if not edited:
            return model(ids).logits.log_softmax(-1)
        write, read = edit
        changed = torch.func.functional_call(model, {f"{SITE}.weight": weight + write @ read}, (ids,))
        return changed.logits.log_softmax(-1)

    def following(values, text):
        return F.nll_loss(values[:, :-1].flatten(0, 1), text.ids[:, 1:].flatten(), reduction="none")

    removal = following(log_probs(FORGET.ids, True), FORGET).clamp(max=AIM.chance).mean()
    kl, rise = {}, {}
    for domain, text in HELD.items():
        base, now = log_probs(text.ids, False), log_probs(text.ids, True)
        kl[domain] = (base.exp() * (base - now)).sum(-1)[text.present].mean()
        rise[domain] = (following(now, text) - following(base, text)).mean()
    return removal, kl, rise


def factors(method, parameters):
    """(write, read) as the method's docstring has them, differentiable in its parameters."""
    write, read = (parameters[f"{side}:{SITE}"][0] for side in ("write", "read"))
    u, v = method.edit(method.start(1, [0]), 0).factors[SITE]
    return (u.norm() * v.norm() * write / write.norm()).T, read / read.shape[1] ** 0.5


@pytest.mark.parametrize("measure", ["kl", "rise"])
def test_a_step_goes_against_the_gradient_of_the_stated_loss(model, measure):
    """All rows in a step, so that nothing depends on which are drawn: Adam's first step is the rate times the sign."""
    method = start()
    before = snapshot(model)
    out = trained(model, method, measure, rate=0.01, steps=1, rows=6, heavy=2, heavy_rows=6, weight=0.3)
    parameters = method.start(1, [0])
    removal, kl, rise = losses(model, factors(method, parameters))
    damage = kl if measure == "kl" else rise
    loss = -removal + sum(0.3 * damage[d] / AIM.tolerated(d) for d in HELD)
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    for (name, value), gradient in zip(parameters.items(), gradients, strict=True):
        sure = gradient[0].abs() > 1e-4
        assert sure.sum() > 5
        step = out.parameters[name] - value.detach()[0]
        torch.testing.assert_close(step[sure], -0.01 * gradient[0][sure].sign(), rtol=1e-2, atol=1e-5)
    ascent, margin = WithinConfig().ascent, WithinConfig().margin
    for domain, value in damage.items():
        over = float(value.detach()) / (margin * AIM.tolerated(domain)) - 1
        assert out.weights[domain] == pytest.approx(max(0.3 + ascent * over, 0), abs=1e-5)
    assert same(model, before)


def uneven(lengths: tuple[int, ...], width: int, seed: int) -> Blocks:
    """Rows of these lengths; one of length 1 has nothing that is scored."""
    ids, places = probe(len(lengths), width, seed), torch.arange(width)
    valid = torch.stack([(places > 0) & (places < length) for length in lengths])
    return Blocks(ids * (valid | (places == 0)), valid)


UNEVEN = {
    "a": uneven((8, 4), 8, 1),
    "b": uneven((8, 1, 8, 3), 8, 2),
    "c": uneven((6, 8), 8, 4),
    "d": uneven((7,), 8, 5),
}


def by_hand(model, edit, forget, aim, seed, rate, config):
    """(read and write at the end, weights) of the stated rule, by autograd, PyTorch's Adam and the edited model's logits."""
    u, v = edit.factors[SITE]
    sides = [
        (f.flatten() / f.norm() * f.numel() ** 0.5).detach().double().requires_grad_(True) for f in (v, u)
    ]
    length, weight = u.norm() * v.norm(), model.get_submodule(SITE).weight.detach()

    def log_probs(ids, edited):
        read, write = sides
        change = length * torch.outer(write / write.norm(), read / read.numel() ** 0.5)
        put = {f"{SITE}.weight": weight + edited * change}
        return torch.func.functional_call(model, put, (ids,)).logits.log_softmax(-1)

    def following(ids, edited):
        return -log_probs(ids, edited)[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]

    generator = torch.Generator().manual_seed(seed)

    def rows_of(counted):
        some = counted.any(1).nonzero().flatten()
        while True:
            yield from some[torch.randperm(len(some), generator=generator)].tolist()

    def counted(text):
        return text.present if aim.measure == "kl" else text.valid

    turns, ours = {d: rows_of(counted(text)) for d, text in UNEVEN.items()}, rows_of(forget.valid)
    weights, smoothed = dict.fromkeys(UNEVEN, config.weight), {}
    adam, ends = torch.optim.Adam(sides, lr=rate), []
    for step in range(config.steps):
        some = [next(ours) for _ in range(config.rows)]
        surprise = following(forget.ids[some], 1)[forget.valid[some][:, 1:]]
        loss = -surprise.clamp(max=1.2 * aim.chance).mean()
        order = sorted(weights, key=lambda d: -weights[d])
        heavy, others = order[: config.heavy], [d for d in weights if d not in order[: config.heavy]]
        for domain in [*heavy, others[(step + 1) % len(others)]]:
            count = config.heavy_rows if domain in heavy else config.rows
            some, text = [next(turns[domain]) for _ in range(count)], UNEVEN[domain]
            ids = text.ids[some]
            if aim.measure == "kl":
                base = log_probs(ids, 0).detach()
                damage = (base.exp() * (base - log_probs(ids, 1))).sum(-1)[text.present[some]].mean()
            else:
                damage = (following(ids, 1) - following(ids, 0))[text.valid[some][:, 1:]].mean()
            loss = loss + weights[domain] * damage / aim.tolerated(domain)
            value = float(damage.detach())
            smoothed[domain] = 0.9 * smoothed.get(domain, value) + 0.1 * value
            over = smoothed[domain] / (config.margin * aim.tolerated(domain)) - 1
            weights[domain] = min(max(weights[domain] + config.ascent * over, 0), config.most)
        adam.param_groups[0]["lr"] = rate * (1 - step / config.steps)
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step >= config.steps // 2:
            ends.append([side.detach().clone() for side in sides])
    return [torch.stack(side).mean(0) for side in zip(*ends, strict=True)], weights


@pytest.mark.parametrize("measure", ["kl", "rise"])
@pytest.mark.parametrize(("ascent", "most"), [(0.05, 20.0), (0.4, 0.35)])
def test_many_steps_are_those_of_the_stated_rule(measure, ascent, most):
    """Rows of any length, one without a scored token, four domains of which one is heavy, weights that fall to 0 or are
    stopped at the largest."""
    model = simple_mlp().double()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    edit, forget = random_edit(simple_mlp(), {SITE: 1}, size=0.5), uneven((9, 5, 1, 7), 9, 3)
    values = {"forget": "de", "retain": tuple(UNEVEN), "chance": 3.0, "tolerance": 0.05, "measure": measure}
    aim = Aim(**values, tolerances={"c": 0.5})
    config = WithinConfig(steps=11, rows=2, heavy=1, heavy_rows=3, weight=0.2, ascent=ascent, most=most)
    held = Held(model, [SITE], UNEVEN, measure)
    out = Training(model, Directions(edit), Run(forget, 3, 1.0, 0.03, 1.2), held, aim, config).round()
    sides, weights = by_hand(model, edit, forget, aim, 3, 0.03, config)
    for name, expected in zip(("read", "write"), sides, strict=True):
        torch.testing.assert_close(out.parameters[f"{name}:{SITE}"][0].double(), expected, rtol=0, atol=1e-4)
    assert out.weights == pytest.approx(weights, abs=1e-4)
    assert (max(weights.values()) == most) == (most < 1)
    assert len(set(weights.values())) > 1


def test_a_domain_weighs_more_while_it_costs_more_than_its_share(model):
    """At a rate of nothing the edit stays, and with it the damage: the weights are sums by hand."""
    method = start()
    config = {"heavy": 2, "heavy_rows": 6, "margin": 0.5, "weight": 0.2, "ascent": 0.01, "most": 1.5}
    out = trained(model, method, rate=1e-30, steps=3, **config)
    held = Held(model, [SITE], HELD)
    kl = dict(
        zip(
            HELD,
            damages(model, method.edit(method.start(1, [0]), 0), [1.0], held)[:, 0].tolist(),
            strict=True,
        )
    )
    for domain, value in kl.items():
        over = value / (0.5 * AIM.tolerated(domain)) - 1
        assert out.weights[domain] == pytest.approx(min(max(0.2 + 3 * 0.01 * over, 0), 1.5), rel=1e-3)
    for name, value in method.start(1, [0]).items():
        torch.testing.assert_close(out.parameters[name], value.detach()[0])


def test_it_removes_more_within_the_tolerances_than_without_weights(model):
    """The start costs several times what is allowed; held, it ends near its bounds, unheld it does not."""
    method = start(1.0)
    edit = method.edit(method.start(1, [0]), 0)
    held = Held(model, [SITE], HELD)
    first = damages(model, edit, [1.0], held)[:, 0].tolist()
    assert max(first) > 2 * AIM.tolerance
    bound = trained(model, method, steps=200, rows=3, heavy=2, heavy_rows=3, ascent=0.05, cap=3.0).edit
    loose = trained(
        model, method, steps=200, rows=3, heavy=2, heavy_rows=3, ascent=1e-9, weight=0.0, cap=3.0
    ).edit
    strains = {}
    for name, one in (("bound", bound), ("loose", loose)):
        kl = dict(zip(HELD, damages(model, one, [1.0], held)[:, 0].tolist(), strict=True))
        strains[name] = AIM.strain(kl)
    assert strains["bound"] <= 1.1
    assert strains["loose"] > 3
    assert losses(model, bound.factors[SITE])[0] > losses(model, (torch.zeros(1, 1), torch.zeros(1, 1)))[0]


def test_the_seed_decides_the_rows_and_nothing_else_does(model):
    config = {"steps": 4, "heavy": 1, "heavy_rows": 1}
    first, again, other = (trained(model, start(), seed=seed, **config).parameters for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_domains_that_weigh_nothing_are_still_read_in_turn(model):
    out = trained(model, start(), steps=4, heavy=1, heavy_rows=1, weight=0.25)
    assert all(weight != 0.25 for weight in out.weights.values())


def test_its_size_is_bounded_by_other_text(model):
    """KL grows about with the square of the size: from over the tolerance and from far below it comes to the tolerance."""
    held = Held(model, [SITE], HELD)
    for size in (1.0, 0.02):
        fit = trained(model, start(size), steps=1, cap=9.0)
        sized = sized_within(model, fit, held, AIM)
        assert sized.sized is not None
        assert not sized.sized.reached
        assert (sized.sized.size < 1) == (size == 1.0)
        kl = dict(zip(HELD, damages(model, sized.edit, [1.0], held)[:, 0].tolist(), strict=True))
        assert 0.9 < AIM.strain(kl) <= 1.001
        assert kl == pytest.approx(dict(sized.sized.damage), rel=1e-3)


def test_it_is_no_larger_than_its_forget_text_needs(model):
    fit = trained(model, start(0.3), steps=1)
    whole = removals(model, fit.edit, [1.0], FORGET)[0].lower
    half = removals(model, fit.edit, [0.5], FORGET)[0].lower
    wanted = (whole + half) / 2
    generous = AIM.model_copy(update={"chance": wanted, "tolerance": 99.0, "tolerances": {}})
    sized = sized_within(model, fit, Held(model, [SITE], HELD), generous).sized
    assert sized is not None
    assert sized.reached
    assert 0.5 < sized.size < 1
    assert removals(model, fit.edit, [sized.size], FORGET)[0].lower == pytest.approx(wanted, rel=0.02)


def test_held_text_is_read_once_where_a_smaller_size_will_do(model, monkeypatch):
    fit = trained(model, start(0.3), steps=1)
    half = removals(model, fit.edit, [0.5], FORGET)[0].lower
    generous = AIM.model_copy(update={"chance": half, "tolerance": 99.0, "tolerances": {}})
    read, really = [], sizes._damage
    monkeypatch.setattr(sizes, "_damage", lambda *given: read.append(given[-1]) or really(*given))
    sized = sized_within(model, fit, Held(model, [SITE], HELD), generous).sized
    assert sized is not None
    assert sized.size < 0.6
    assert read == list(HELD)


def test_a_size_that_its_forget_text_needs_is_not_taken_beyond_the_tolerance(model):
    fit = trained(model, start(2.0), steps=1)
    held = Held(model, [SITE], HELD)
    half = dict(zip(HELD, damages(model, fit.edit, [0.5], held)[:, 0].tolist(), strict=True))
    wanted = removals(model, fit.edit, [0.8], FORGET)[0].lower
    tight = AIM.model_copy(update={"chance": wanted, "tolerance": 99.0, "tolerances": {"fr": half["fr"]}})
    sized = sized_within(model, fit, held, tight).sized
    assert sized is not None
    assert not sized.reached
    assert 0.45 < sized.size <= 0.5 * 1.001
    assert tight.strain(sized.damage) <= 1


def test_the_damage_is_smoothed_from_reading_to_reading(model):
    """A domain of one row that costs nothing, then something: the second reading counts by a tenth."""
    method = start()
    held = Held(model, [SITE], {"en": blocks(2, 9, 1)})
    kl = [
        float(
            damages(
                model, method.edit(method.start(1, [0]), 0), [1.0], {"en": blocks(2, 9, 1).rows(i, i + 1)}
            )[0, 0]
        )
        for i in range(2)
    ]
    aim = AIM.model_copy(update={"retain": ("en",), "tolerances": {}})
    config = WithinConfig(steps=2, heavy=1, heavy_rows=1, weight=1.0, ascent=0.01, margin=1.0)
    out = Training(model, method, Run(FORGET, 0, 1.0, 1e-30, 1.0), held, aim, config).round()
    generator = torch.Generator().manual_seed(0)
    _, order = (torch.randperm(2, generator=generator).tolist() for _ in ("forget", "en"))
    first, second = (kl[i] for i in order)
    smoothed = DECAY * first + (1 - DECAY) * second
    expected = 1 + 0.01 * (first / aim.tolerance - 1) + 0.01 * (smoothed / aim.tolerance - 1)
    assert out.weights["en"] == pytest.approx(expected, rel=1e-3)


def test_a_loss_that_is_no_number_stops_it(model):
    with pytest.raises(RankOneError, match="not finite at step"):
        trained(model, start(), rate=math.inf, steps=5)


def within(model, method, aim, rounds, rate=0.02, steps=3):
    held = Held(model, method.sites(), HELD)
    return train_within(model, method, Run(FORGET, 0, 1.0, rate, 1.0), held, held, aim, steps, rounds)


def test_what_is_at_its_target_is_trained_once(model):
    """Its forget text asks for less than it was trained to, within generous tolerances."""
    generous = AIM.model_copy(update={"chance": 1.0, "tolerance": 99.0, "tolerances": {}})
    once, more = (within(model, start(), generous, rounds) for rounds in (1, 5))
    assert more.sized.reached
    assert (once.steps, more.steps) == (3, 3)
    assert once.sized == more.sized


def test_what_only_has_to_be_larger_is_trained_once(model):
    """Short of its target at the size it was trained at, and there at a larger one that generous tolerances allow."""
    generous = AIM.model_copy(update={"chance": 5.5, "tolerance": 99.0, "tolerances": {}})
    once, more = (within(model, start(), generous, rounds, rate=1e-3) for rounds in (1, 5))
    assert more.sized.reached
    assert more.sized.size > 1
    assert (once.steps, more.steps) == (3, 3)
    assert once.sized == more.sized


def test_what_a_tolerance_stops_is_trained_again_from_where_it_ended(model):
    """Two rounds at no rate are one of twice the steps: the same rows in turn, and weights that go on."""
    held = Held(model, [SITE], HELD)
    run, config = Run(FORGET, 0, 1.0, 1e-30, 1.0), WithinConfig(steps=6)
    whole = Training(model, start(), run, held, AIM, config).round()
    twice = within(model, start(), AIM, 2, rate=1e-30)
    assert not twice.sized.reached
    assert twice.steps == 6
    assert twice.weights == pytest.approx(whole.weights)
    ends = twice.method.resized(twice.parameters, 1 / twice.sized.size)
    assert all(torch.allclose(ends[name], value) for name, value in whole.parameters.items())


def test_another_round_gets_farther(model):
    """What the size rule leaves is nearer to the target, with every domain within its tolerance still."""
    fits = [within(model, start(), AIM, rounds, steps=20) for rounds in (1, 3)]
    reached = [removals(model, fit.edit, [1.0], FORGET)[0].lower for fit in fits]
    assert [fit.steps for fit in fits] == [20, 60]
    assert reached[1] > reached[0]
    kl = damages(model, fits[1].edit, [1.0], Held(model, [SITE], HELD))[:, 0].tolist()
    assert AIM.strain(dict(zip(HELD, kl, strict=True))) <= 1.001


@pytest.mark.parametrize("rounds", [1, 3])
def test_how_far_a_tolerance_lets_it_go_is_asked_of_the_last_round_alone(model, monkeypatch, rounds):
    asked, really = [], within_tolerances.find_limit
    monkeypatch.setattr(within_tolerances, "find_limit", lambda *given: asked.append(given) or really(*given))
    fit = within(model, start(2.0), AIM, rounds)
    assert fit.steps == 3 * rounds
    assert len(asked) <= 1
