"""axe-core finds nothing serious on the report and on a component's page, light and dark; and it would find something."""

from __future__ import annotations

import pytest
from tests.browser import needed
from tests.experiments import factory
from tests.show.portraits import portrait

from rankone.experiments.report.page import write_report
from rankone.show.web import portrait_page

pytestmark = needed


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    report = write_report(factory.results(tmp_path_factory.mktemp("report"))).read_text("utf8")
    texts = ["der", " die", "und", "das", "von", "mit"]
    return {"report": report, "component": portrait_page(portrait(texts, response=True))}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["report", "component"])
def test_nothing_serious(serious, pages, name, dark):
    found = serious(pages[name], dark)
    assert found == {"dark": dark, "bad": []}


def test_faint_text_would_be_found(serious, pages):
    faint = pages["component"].replace("</style>", ".note { color: #ddd !important; }</style>")
    assert [rule for rule, _ in serious(faint, False)["bad"]] == ["color-contrast"]
