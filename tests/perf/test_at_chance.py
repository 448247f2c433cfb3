"""What parts cost at chance: every part that is named is there, and an edit is brought to the size that just does it."""

from __future__ import annotations

import pytest
from perf.at_chance import at_chance, named, saved, scaled
from perf.fits import PARTS, opened

from rankone.core.errors import RankOneError
from rankone.edits.scales import scale_edit


@pytest.fixture(scope="module")
def bench():
    return opened(None, 60, ["test"], paired=False)


def test_every_part_that_is_named_can_be_turned(bench):
    assert [len(scaled(bench, part)(2.0).sites) for part in named(bench, PARTS)] == [1] * 6


def test_a_saved_edit_is_sized_as_its_part_is(bench, tmp_path):
    """−16 on the pick is near chance: half of −33 is the size that its own scan ends at."""
    edit = scale_edit(bench.book, {PARTS[0]: -33.0}).bind(bench.workspace.model)
    edit.save_pretrained(tmp_path / "edit")
    part, share = (
        at_chance(bench, turned) for turned in (scaled(bench, PARTS[0]), saved(bench, tmp_path / "edit"))
    )
    assert share["size"] * 34 == pytest.approx(part["size"], rel=0.06)
    assert share["sets"]["test"]["worst"] == pytest.approx(part["sets"]["test"]["worst"], abs=0.01)


def test_an_edit_that_does_not_get_there_says_so(bench):
    """A scale of the channel, of which .1 to 100 times leave German as it is."""
    assert at_chance(bench, lambda size: scale_edit(bench.book, {PARTS[0]: 1 + 1e-4 * size})) is None


def test_an_edit_of_other_weights_is_refused(bench, tmp_path):
    edit = scale_edit(bench.book, {PARTS[0]: -33.0}).bind(bench.workspace.model)
    edit.save_pretrained(tmp_path / "edit")
    weight = next(p for n, p in bench.workspace.model.named_parameters() if "h.3.mlp.down_proj" in n)
    weight.data.mul_(1.01)
    with pytest.raises(RankOneError):
        saved(bench, tmp_path / "edit")
    weight.data.div_(1.01)
