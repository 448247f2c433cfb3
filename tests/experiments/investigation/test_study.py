"""A whole investigation of a tiny model: figures against edited models, words, terminal and page; bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from tests.browser import needed
from tests.experiments.investigation.world import DOMAINS, HOSTILE
from tests.harvest.counting.test_plan import Texts
from tests.pages import Page

from rankone.core.errors import RankOneError
from rankone.edits.scales import scale_edit
from rankone.experiments.investigation.study import (
    SUFFERS,
    StudyRequest,
    chosen_domains,
    investigate,
    study_text,
)
from rankone.experiments.investigation.terminal import investigation
from rankone.experiments.investigation.web import investigation_page, write_investigation
from rankone.experiments.investigation.words import summary
from rankone.experiments.measure import edited_cross_entropies
from rankone.labels.label import Label
from rankone.metrics.cross_entropy import cross_entropies
from rankone.metrics.rank_statistics import spearman

CONFIG = StudyRequest(alphas=(0.0, 30.0, -1.0), tokens=60, draws=2, contexts=3)


@pytest.fixture(scope="module")
def name(world):
    """The subcomponent of an output matrix whose turning does most."""
    model, decomposition = world.model, world.decomposition
    text = study_text(world.workspace, ["de"], "validation", 60)
    own = [n for n in decomposition.names() if n.startswith("h.0.mlp.down_proj")]
    return max(
        own,
        key=lambda n: edited_cross_entropies(model, scale_edit(decomposition, {n: 30.0}), text)["de"],
    )


@pytest.fixture(scope="module")
def found(world, name):
    labels = [Label(name, f"label {HOSTILE}", 0.5, "statistical", "")]
    return investigate(world.workspace, world.store, name, CONFIG, labels)


def test_figures_are_those_of_edited_models(world, name, found):
    text = study_text(world.workspace, list(DOMAINS), "validation", 60)
    base = cross_entropies(world.model, text)
    assert {f.domain: f.ce for f in found.findings} == pytest.approx(base, rel=1e-4)
    for alpha in CONFIG.alphas:
        edited = edited_cross_entropies(world.model, scale_edit(world.decomposition, {name: alpha}), text)
        for f in found.findings:
            assert f.rises[alpha] == pytest.approx(edited[f.domain] - base[f.domain], abs=1e-4)
    assert found.strongest == 30.0
    rises = [f.rises[30.0] for f in found.findings]
    assert rises == sorted(rises, reverse=True)
    assert max(rises) > 0.1, "the case must do some damage"
    assert [f.tokens for f in found.findings] == [60] * 3


def test_activity_and_correlations(found):
    assert all(0 <= f.strong < 1 for f in found.findings)
    assert any(f.strong > 0 for f in found.findings)
    page = {row.domain: row.mean_importance for row in found.page.domains}
    assert {f.domain: f.importance for f in found.findings} == pytest.approx(page)
    for alpha, value in found.correlations.items():
        sides = [[getattr(f, side)[alpha] for f in found.findings] for side in ("predicted", "rises")]
        assert value == spearman(*map(torch.tensor, sides))
    for f in found.findings:
        assert (f.where is not None) == (f.rises[30.0] >= SUFFERS)
        assert len(f.contexts) <= 3


def test_small_steps_are_predicted(world, name):
    """Close to α = 1 the rise is the first order."""
    config = StudyRequest(alphas=(0.9,), tokens=60, draws=1)
    for f in investigate(world.workspace, world.store, name, config).findings:
        assert f.predicted[0.9] == pytest.approx(f.rises[0.9], rel=0.3, abs=2e-4)


def test_the_harvest_counts_tokens_by_domain(world):
    counts = world.store.token_counts()
    assert {d: int(c.sum()) for d, c in counts.items()} == world.store.tokens()
    whole = world.store.table("SELECT inputs FROM vocabulary ORDER BY token")["inputs"].to_numpy()
    assert np.array_equal(sum(counts.values()), whole)


def test_the_words_say_who_suffers(found):
    first, *others = summary(found)
    most = found.findings[0]
    assert first.startswith("At α = 30 ")
    assert f"+{most.rises[30.0]:.2f} nats per token" in first
    said = " ".join(others)
    assert "Directly (straight into the residual stream) it raises" in said
    for f in found.findings[1:]:
        assert f"+{f.rises[30.0]:.2f}" in said
    calm = replace(
        found, findings=[replace(f, rises=dict.fromkeys(CONFIG.alphas, 0.001)) for f in found.findings]
    )
    assert summary(calm)[0].startswith("At α = 30 no domain rises by 0.02")


def test_the_page_keeps_the_rules_and_hostile_text_is_inert(found, tmp_path):
    path = tmp_path / "page.html"
    write_investigation(found, path)
    source = path.read_text("utf8")
    page = Page(source)
    assert "<b>" not in source
    assert "&lt;script&gt;" in source
    rows = page.tables["rises-table"]
    assert len(rows) == 1 + len(DOMAINS)
    assert rows[1][1] == "60"
    with pytest.raises(RankOneError, match="already exists"):
        write_investigation(found, path)


@needed
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_accessible(serious, found, dark):
    assert serious(investigation_page(found), dark) == {"dark": dark, "bad": []}


def test_the_page_of_one_that_does_nothing(found):
    """No damage, no direct path, nothing read: still a page."""
    empty = [
        replace(
            f, rises=dict.fromkeys(CONFIG.alphas, 0.0), where=None, reads=[], lost=[], contexts=[], energy=0.0
        )
        for f in found.findings
    ]
    calm = replace(
        found, findings=empty, labels=[], direct=replace(found.direct, raises=[], lowers=[], way="none: x")
    )
    assert "Direct path to the logits: none: x." in investigation_page(calm)
    assert list(investigation(calm))


def test_the_terminal_is_inert(found):
    console = Console(width=220)
    with console.capture() as captured:
        console.print(*investigation(found), sep="\n")
    out = captured.get()
    assert "\x1b[31m" not in out
    assert "\u202e" not in out
    assert "label <script>alert(1)</script> \\x1b[31m[bold]x[/bold]" in out
    assert "mean a" in out
    assert "Written to the logits directly" in out


def test_bad_input(world, name):
    store = world.store
    with pytest.raises(
        RankOneError, match=r"'h\.0\.mlp\.down_prj:1' is not in the harvest.*h\.0\.mlp\.down_proj"
    ):
        investigate(world.workspace, world.store, "h.0.mlp.down_prj:1", CONFIG)
    fewer = Texts(**{"de": ["ein Satz"], "code": ["x = 1"]})
    with pytest.raises(RankOneError, match="nothing for domain '<b>en'"):
        investigate(replace(world.workspace, corpus=fewer), store, name, CONFIG)
    with pytest.raises(RankOneError, match="validation text of 'de'"):
        study_text(replace(world.workspace, corpus=Texts(de=[""])), ["de"], "validation", 60)
    with pytest.raises(RankOneError, match=r"no domain 'dee'; it has de.*Nearest: de"):
        chosen_domains(store, ("dee",))
    assert chosen_domains(store, ("code", "de", "code")) == ["code", "de"]
    for alphas in ((1.0,), (), (float("nan"),)):
        with pytest.raises(RankOneError, match="alphas"):
            StudyRequest.checked({"alphas": alphas}, "investigate")


def test_what_follows_comes_by_what_it_carries(found):
    """Most tokens that only follow where it fires have one and the same PMI: alone it would put the rarest first."""
    rows = found.follows(8)
    carried = [row.weight * row.pmi for row in rows]
    assert carried == sorted(carried, reverse=True)
    others = [row for row in found.page.output_tokens if row.weight >= 1 and row not in rows]
    assert all(row.weight * row.pmi <= carried[-1] for row in others) or not carried
