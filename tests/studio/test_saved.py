"""Pages that were saved as files keep their contrast and names, in light and dark: axe on each of them."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect
from tests.browser import needed
from tests.studio.browsing import watched
from tests.studio.serving import Served, studio

pytestmark = needed
PART = "h.3.mlp.down_proj:270"
TEXTS = "t=Der+Ausschuss+hat+gestern+beschlossen&u=Der+Ausschuss+hat+nie+beschlossen"


def test_axe_has_no_serious_finding_in_saved_pages(serious, browser: Browser, served: Served, tmp_path):
    with studio(tmp_path) as own:
        for seq, name in enumerate(("less German", "more")):
            own.json("/api/edits", {"scales": {PART: -8.0 + 4 * seq}, "name": name, "after": seq})
        pages = watched(browser, own, served)
        page = next(pages)
        sources: dict[str, str] = {}
        for view, ready in (
            (f"part/{PART}", page.get_by_text("Neighbours by direction")),
            (f"dials?d={PART}=-8", page.get_by_text("800 validation tokens per domain")),
            (f"prompt?{TEXTS}", page.locator("table.difference")),
            ("edits", page.get_by_text("more", exact=True)),
        ):
            page.goto(own.address.split("/?")[0] + "#/" + view)
            page.reload()
            expect(ready).to_be_visible(timeout=90_000)
            if view.startswith("part"):
                page.get_by_role("button", name="measure from −24 to 4").click()
                expect(page.locator("figure.curves tbody tr")).to_have_count(10, timeout=90_000)
                expect(page.get_by_text("measuring…")).to_have_count(0, timeout=90_000)
            with page.expect_download() as waited:
                page.get_by_role("button", name="save this page as a file").click()
            sources[view] = Path(waited.value.path()).read_text("utf8")
        pages.close()
    found = {
        (view, dark): serious(source, dark) for view, source in sources.items() for dark in (False, True)
    }
    assert all(said["dark"] == dark for (_, dark), said in found.items())
    assert {where: said["bad"] for where, said in found.items() if said["bad"]} == {}
