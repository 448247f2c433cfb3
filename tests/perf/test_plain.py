"""The plain step that speed is measured against computes the same losses as RankOne's separate step, draw for draw."""

from __future__ import annotations

import pytest
import torch
from perf.cases import Size, plain_trainer, recipe, take_back
from perf.ceiling import count_flops
from perf.plain import Draws
from tests.decomposition import tiny

from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.masking.draws import RowDraws, draw_pass
from rankone.decomposition.training.trainer import Trainer

SIZE = Size({}, {"*.attn.*": 6, "*.mlp.*": 9}, dict(tiny.SIZES), "random")
ROWS, CONTEXT = 3, 7


def config(**changes):
    values = {"autocast": False, "compile": False, "faithfulness": 3.0, "steps": 4, **changes}
    return recipe(SIZE, "separate", ROWS, CONTEXT, **values)


def pair(**changes):
    """RankOne's trainer and the plain one from the same start, with the same sources."""
    settings = config(**changes)
    ours, plain = ((target, new_decomposition(target, settings)) for target in (tiny.target(), tiny.target()))
    rows = tiny.token_rows(settings)
    trainer = Trainer(*ours, rows, settings)
    other = plain_trainer(*plain, settings, torch.device("cpu"))
    counts, sites = trainer.decomposition.counts, trainer.decomposition.sites
    total = trainer.decomposition.total
    per_site = trainer.adversary.source[..., :total].split(counts, -1)
    for i, (name, r) in enumerate(zip(sites, per_site, strict=True)):
        delta = trainer.adversary.source[..., total + i : total + i + 1]
        other.sources[name] = torch.cat((r, delta), -1)
    return trainer, other


def draws_of(trainer, step):
    """What RankOne's stochastic pass of a step draws: it is the first after the extra ascents."""
    settings = trainer.config
    counts, sites = trainer.decomposition.counts, trainer.decomposition.sites
    draws = RowDraws(settings.seed, torch.device("cpu"), step)
    index, shape = settings.adversary.extra_ascents, (CONTEXT, sum(counts), len(sites))
    noise, _, deltas, routes = draw_pass(draws, range(ROWS), index, shape, "subset", "uniform")
    sources = ((noise.float() + 0.5) / 256).split(counts, -1)
    return Draws(
        dict(zip(sites, sources, strict=True)),
        {name: deltas[..., i : i + 1] for i, name in enumerate(sites)},
        {name: routes[..., i : i + 1] for i, name in enumerate(sites)},
    )


SMOOTH = {
    "minimality": {"kind": "smooth_l0", "activity": 2e-4, "frequency": 1e-4, "reference_count": 50.0},
    "importance_learning_rate": {"start": 2e-4},
    "importance_clip": 0.01,
}


@pytest.mark.parametrize(
    ("ascents", "scope", "changes"), [(0, "bsc", {}), (2, "bsc", {}), (2, "bc", SMOOTH)], ids=str
)
def test_the_plain_step_has_the_same_losses(ascents, scope, changes):
    """Over three steps, so that sources, factors and importance function have moved the same way, too."""
    adversary = {**config().adversary.model_dump(), "extra_ascents": ascents, "scope": scope}
    trainer, plain = pair(adversary=adversary, **changes)
    with trainer.installed():
        for step in range(3):
            draws = draws_of(trainer, step)
            expected = trainer.step(step)
            found = plain.step(trainer.batch(step), step, draws)
            for name, value in found.items():
                assert value == pytest.approx(expected[name], rel=2e-4), (step, name)
    for name, source in plain.sources.items():
        i = trainer.decomposition.sites.index(name)
        start = sum(trainer.decomposition.counts[:i])
        ours = trainer.adversary.source[..., start : start + trainer.decomposition.counts[i]]
        assert (source[..., :-1] - ours).abs().median() < 1e-4


def test_what_the_plain_run_trains_comes_back():
    """After a step both importance functions give the same logits; before taking it back they do not."""
    trainer, plain = pair()
    plain.step(trainer.batch(0), 0)
    importance = new_decomposition(tiny.target(), config()).importance
    torch.manual_seed(1)
    inputs = [torch.randn(ROWS, CONTEXT, site.V.shape[0]) for site in plain.sites.values()]
    for name in ("project", "head"):
        importance.get_submodule(name).load_state_dict(plain.importance.get_submodule(name).state_dict())
    for own, new in zip(importance.blocks, plain.importance.blocks, strict=True):
        for name in ("out", "up", "down"):
            own.get_submodule(name).load_state_dict(new.get_submodule(name).state_dict())
    wanted = plain.importance(inputs)
    assert not torch.allclose(importance(inputs), wanted, atol=1e-7)
    take_back(importance, plain.importance)
    assert torch.allclose(importance(inputs), wanted, atol=1e-5)


def test_the_draws_matter():
    """The comparison above is not blind: with other draws the stochastic loss is another."""
    trainer, plain = pair()
    with trainer.installed():
        expected = trainer.step(0)["kl_stochastic"]
    found = plain.step(trainer.batch(0), 0, draws_of(trainer, 1))["kl_stochastic"]
    assert found != pytest.approx(expected, rel=1e-2)


def test_its_own_draws_are_uniform_and_subsets():
    _, plain = pair()
    draws = plain._draw(torch.zeros(40, 30, 1))
    values = torch.cat([r.flatten() for r in draws.sources.values()])
    assert values.min() >= 0
    assert values.max() <= 1
    assert values.mean().item() == pytest.approx(0.5, abs=0.01)
    routed = torch.cat(list(draws.routes.values()), -1).sum(-1)
    assert routed.min() == 1
    assert routed.max() == len(plain.sites)
    assert routed.float().mean().item() == pytest.approx((1 + len(plain.sites)) / 2, abs=0.2)


def test_flops_are_counted_attention_included():
    a = torch.ones(8, 16, requires_grad=True)
    assert count_flops(lambda: (a @ torch.ones(16, 4)).sum().backward()) == 2 * 2 * 8 * 16 * 4
    q = torch.ones(2, 3, 5, 8)
    attention = count_flops(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q))
    assert attention == 2 * (2 * 2 * 3 * 5 * 5 * 8)
