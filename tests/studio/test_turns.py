"""Undo and redo of the dials in Chromium: every turn is one step, however quickly they come and whatever is being kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect
from tests.browser import needed
from tests.studio.browsing import watched
from tests.studio.serving import Served, studio

pytestmark = needed
ONE, OTHER = "h.3.mlp.down_proj:270", "h.3.mlp.down_proj:271"


@pytest.fixture
def page(browser: Browser, served: Served, tmp_path) -> Iterator[Page]:
    """The dials of two parts, of a workspace of its own."""
    with studio(tmp_path) as own:
        for made in watched(browser, own, served):
            expect(made.locator(".about")).to_contain_text("parameters", timeout=180_000)
            made.goto(f"{own.address.split('/?')[0]}/#/dials?d={ONE}=1,{OTHER}=1")
            expect(made.locator("fieldset.dial")).to_have_count(2)
            yield made


def _field(page: Page, part: str) -> Locator:
    return page.get_by_label(f"α of {part}", exact=True)


def _stand(page: Page, one: str, other: str) -> None:
    expect(_field(page, ONE)).to_have_value(one)
    expect(_field(page, OTHER)).to_have_value(other)


def _type(page: Page, part: str, alpha: str) -> None:
    _field(page, part).fill(alpha)
    _field(page, part).press("Enter")


def _button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def test_two_quick_turns_are_two_steps_back_and_two_forth(page: Page):
    _type(page, ONE, "-8")
    _type(page, OTHER, "3")
    for one, other in (("-8", "1"), ("1", "1")):
        _button(page, "undo").click()
        _stand(page, one, other)
    expect(_button(page, "undo")).to_be_disabled()
    for one, other in (("-8", "1"), ("-8", "3")):
        _button(page, "redo").click()
        _stand(page, one, other)
    expect(_button(page, "redo")).to_be_disabled()
    page.locator("h1").click()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")  # at once
    _stand(page, "1", "1")


def test_what_was_typed_is_taken_back_from_its_own_field(page: Page):
    _type(page, ONE, "-8")
    page.keyboard.press("Control+z")
    expect(_button(page, "undo")).to_be_disabled()
    _stand(page, "1", "1")
    page.keyboard.press("Control+Shift+z")
    _stand(page, "-8", "1")


def test_a_drag_is_one_step_and_a_key_that_is_held_too(page: Page):
    slider = page.get_by_label(f"scale of {ONE}", exact=True)
    box = slider.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.7, middle)
    page.mouse.down()
    for share in (0.6, 0.5, 0.4, 0.3):
        page.mouse.move(box["x"] + box["width"] * share, middle)
    page.mouse.up()
    dragged = _field(page, ONE).input_value()
    assert float(dragged) < -3
    slider.focus()
    for _ in range(5):
        page.keyboard.down("ArrowRight")  # without an up between them, as a held key repeats
    page.keyboard.up("ArrowRight")
    held = _field(page, ONE).input_value()
    page.keyboard.press("ArrowRight")
    pressed = _field(page, ONE).input_value()
    assert len({dragged, held, pressed}) == 3
    for value in (held, dragged, "1"):
        _button(page, "undo").click()
        expect(_field(page, ONE)).to_have_value(value)
    expect(_button(page, "undo")).to_be_disabled()


def test_a_turn_that_moved_several_dials_is_one_step(page: Page):
    _type(page, ONE, "-8")
    _type(page, OTHER, "3")
    _button(page, "keep as an edit").click()
    expect(page.get_by_role("link", name="1 kept", exact=True)).to_be_visible()
    _type(page, ONE, "2")
    page.get_by_role("link", name="1 kept", exact=True).click()
    page.get_by_role("button", name="load edit 1").click()
    _stand(page, "-8", "3")
    _type(page, ONE, "2")
    page.get_by_role("button", name=f"unpin {ONE}").click()
    expect(page.locator("fieldset.dial")).to_have_count(1)
    _button(page, "undo").click()
    _stand(page, "2", "3")
    _button(page, "undo").click()
    _stand(page, "-8", "3")
    _button(page, "undo").click()  # the load
    _stand(page, "2", "3")


def test_a_turn_while_the_one_before_is_being_kept_is_a_step_of_its_own(page: Page):
    held: list[Route] = []
    page.route("**/api/edits", lambda r: held.append(r) if r.request.method == "POST" else r.continue_())
    _type(page, ONE, "-8")
    _button(page, "keep as an edit").click()
    _type(page, OTHER, "3")
    _button(page, "undo").click()  # waits for what is being kept
    _button(page, "undo").click()
    page.wait_for_timeout(100)
    assert len(held) == 1
    held[0].continue_()
    expect(page.get_by_role("link", name="0 kept, 1 undone", exact=True)).to_be_visible()
    _stand(page, "1", "1")
    for one, other in (("-8", "1"), ("-8", "3")):
        _button(page, "redo").click()
        _stand(page, one, other)
    expect(page.get_by_role("link", name="1 kept", exact=True)).to_be_visible()


def test_two_undos_at_once_take_back_two_kept_edits(page: Page):
    for kept, alpha in ((1, "-8"), (2, "-4")):
        _type(page, ONE, alpha)
        _button(page, "keep as an edit").click()
        expect(page.get_by_role("link", name=f"{kept} kept", exact=True)).to_be_visible()
    _button(page, "undo").evaluate("button => { button.click(); button.click(); }")
    expect(page.get_by_role("link", name="0 kept, 2 undone", exact=True)).to_be_visible()
    _stand(page, "1", "1")
    assert page.locator(".notice:not(.none)").count() == 0


def test_an_address_with_scales_is_undone_to_what_was_kept(page: Page, tmp_path):
    page.goto(page.url.split("#")[0] + f"#/dials?d={ONE}=-8")
    page.reload()
    _type(page, ONE, "-3")
    for alpha in ("-8", "1"):  # before the turn; the model as it is
        _button(page, "undo").click()
        expect(_field(page, ONE)).to_have_value(alpha)
    for alpha in ("-8", "-3"):
        _button(page, "redo").click()
        expect(_field(page, ONE)).to_have_value(alpha)
    _button(page, "undo").click()
    _type(page, ONE, "-5")  # whoever turns on gives up what was taken back
    expect(_button(page, "redo")).to_be_disabled()
    assert not (tmp_path / "studio" / "edits.jsonl").exists()


def test_what_another_page_kept_is_there_when_the_edits_are_looked_at(page: Page):
    kept = {"scales": {ONE: -3}, "name": "kept by another", "after": 0}
    page.evaluate(
        """(body) => fetch("/api/edits", {
            method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body)})""",
        kept,
    )
    page.get_by_role("link", name="Edits", exact=True).click()
    expect(page.get_by_text("kept by another")).to_be_visible(timeout=20_000)
