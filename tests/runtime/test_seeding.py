"""No work of ours moves the caller's random numbers."""

from __future__ import annotations

import ast
from pathlib import Path

import torch

import rankone
from rankone.runtime.seeding import seeded

SOURCES = Path(rankone.__path__[0])
SEEDERS = {"torch.manual_seed", "torch.seed", "random.seed", "np.random.seed", "numpy.random.seed"}


def test_a_block_draws_its_own_numbers_and_leaves_the_callers():
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    with seeded(7):
        inside = torch.rand(4)
    assert torch.equal(torch.rand(4), wanted)
    assert torch.equal(inside, torch.rand(4, generator=torch.Generator().manual_seed(7)))


def test_opening_a_model_and_its_parts_draws_nothing():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    session = rankone.open("mini")
    session.rank(of="de", tokens=50, domains=("de", "en"))
    session.scale({"h.3.mlp.down_proj:270": -8.0})
    session.generate("Der Ausschuss", tokens=2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_file_seeds_a_global_generator():
    seeded_by = [
        (path.name, node.lineno)
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in SEEDERS
    ]
    assert seeded_by == []
