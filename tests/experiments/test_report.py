import json
import re

import pytest
from tests.browser import needed, printed_pages
from tests.experiments import factory
from tests.pages import Page

from rankone.core.errors import RankOneError
from rankone.experiments import tables
from rankone.experiments.names import method_name
from rankone.experiments.report import shown
from rankone.experiments.report.page import write_report
from rankone.experiments.report.results import read_results
from rankone.experiments.report.words import seen_in_response
from rankone.render.terminal import plain


def _value(cell):
    return float(cell.replace("−", "-").replace("+", "").replace(",", ""))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = factory.results(tmp_path_factory.mktemp("report"))
    return write_report(directory).read_text("utf8")


def test_the_page_keeps_the_rules(source):
    page = Page(source)
    assert page.tags.count("svg") == 5
    assert page.tags.count("details") == 10
    assert page.tags.count("a") == 9


@needed
def test_it_prints_on_five_pages_without_the_appendix(source, tmp_path):
    assert 2 <= printed_pages(source, tmp_path) <= 5


def test_hostile_rollouts_come_out_inert(source):
    assert "<script" not in source.lower()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in source
    assert "<b>" not in source
    assert not re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", source)
    assert r"\x1b[2J\x1b]0;owned\x07 \u{202e}gnirts\u{202c} &amp;amp; \x9b31m end↵" + "\nnext" in source


def test_every_number_in_the_glance_table_is_the_tables(source):
    header, *rows = Page(source).tables["glance-table"]
    counted = tables.summarise_runs(factory.runs(), factory.AIM)
    smallest = tables.smallest_budget(counted)
    assert [row[0] for row in rows] == [method_name(method) for method in factory.METHODS]
    domains = [d for d in factory.BASE if d != "de"]
    assert len(header) == 5 + len(domains)
    for row, method in zip(rows, factory.METHODS, strict=True):
        tally = counted[method][128]
        assert _value(row[1]) == smallest[method]
        assert row[2] == f"{tally.successes} of {tally.seeds}"
        want = [tally.forget_ce, tally.forget_rise, *(tally.damage[d] for d in domains)]
        assert [_value(cell) for cell in row[3:]] == pytest.approx(want, abs=5.1e-3)


def test_the_sentence_states_the_counted_numbers(source):
    tally = tables.summarise_runs(factory.runs(), factory.AIM)["scalar"][4]
    lead = re.search(r'<p class="lead">(.*?)</p>', source).group(1)
    assert (
        f"One scalar on {factory.PICKED} (“capitalised &lt;b&gt;words&lt;/b&gt;”), fitted to 4 German tokens"
        in lead
    )
    assert f"to {tally.forget_ce:.2f} nats per token (chance is 8.32)" in lead
    assert f"English by +{tally.damage['en']:.3f}" in lead
    assert re.search(r"seeds succeed \(German CE ≥ 0.98 × chance \(8.32\) and English rise &lt; 0.1\)", lead)
    assert "LoRA rank 1: 128 tokens" in source


def test_the_text_after_says_of_which_fit_it_is(tmp_path):
    directory = factory.results(tmp_path)
    summary = json.loads((directory / "summary.json").read_text("utf8"))
    summary["shown"] = {"method": "scalar", "budget": 4, "seed": 3, "alpha": -16.51, "edit": "edit"}
    (directory / "summary.json").write_text(json.dumps(summary), "utf8")
    story = write_report(directory).read_text("utf8").split("<nav>")[0]
    assert "fitted to 4 German tokens, seed 3, α −16.5; saved in the folder edit." in story


def test_the_story_comes_first_and_the_rest_is_folded(source):
    """The claim, the text before and after, one figure, the damage bars; nothing else is open."""
    story, folded = source.split("<nav>")
    assert (
        story.index('class="lead"')
        < story.index("rlich in der Kommission")
        < story.index("de la &lt;b&gt;Comisión")
    )
    assert story.index("Comisión") < story.index("<svg") < story.index('id="damage-table"')
    assert story.count("<svg") == 1
    assert "<details" not in story
    assert " open" not in folded
    tally = tables.summarise_runs(factory.runs(), factory.AIM)["scalar"][4]
    rises = {"German": tally.forget_rise, "English": tally.damage["en"]}
    rows = {row[0]: row for row in Page(source).tables["damage-table"]}
    for name, rise in rises.items():
        assert _value(rows[name][3]) == pytest.approx(rise, abs=5.1e-3)


def test_on_a_phone_the_names_at_the_figures_edge_stand_below_it(source):
    key = re.search(r'<p class="key".*?</p>', source).group(0)
    lines = re.findall(r'background:var\(--(\w+)\)"></i>(.*?)</span>', key)
    figure = re.search(r'id="scale">.*?</svg>', source, flags=re.DOTALL).group(0)
    assert [name for _, name in lines][:2] == ["German", "English"]
    for colour, name in lines:
        assert f"stroke: var(--{colour})" in figure
        assert re.search(rf"<text[^>]*>\s*{name}", figure)


def test_figures_say_what_is_seen_and_hold_real_text(source):
    alts = re.findall(r'<svg role="img" aria-label="([^"]*)"', source)
    assert any("Eight of nine succeed from, one scalar: 4 tokens" in alt for alt in alts)
    assert any("Lines of cross-entropy by domain" in alt and "at α = −10" in alt for alt in alts)
    assert len(re.findall(r"<text[^>]*>\s*seeds that succeed", source)) == 1
    drawings = "".join(re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL))
    assert set(re.findall(r"font-size: ([\d.]+)px", drawings)) == {"9"}
    assert drawings.count("font-size: 9px") == drawings.count("<text ")


def test_no_path_of_the_machine_is_shown(tmp_path):
    directory = factory.results(tmp_path, seeds=1, budgets=(2,))
    path = directory / "summary.json"
    summary = json.loads(path.read_text())
    summary["provenance"]["config"] = {"text": "/home/someone/corpus", "rates": [0.1, 1e-05]}
    path.write_text(json.dumps(summary))
    rows = dict(Page(write_report(directory).read_text("utf8")).tables["provenance-table"])
    assert (rows["config.text"], rows["config.rates"]) == ("corpus", "0.1, 1e-05")
    assert (rows["time"], rows["peak memory"]) == ("61 s", "1.2 GB")


def test_methods_that_share_no_budget_are_reported_at_their_own(tmp_path):
    """A job may name other budgets per method; its report must not fail after all fits are done."""
    directory = factory.results(tmp_path, seeds=2)
    own = {"scalar": 2, "top16": 4, "lora_r1": 128, "lora_r1_local": 16}
    rows = [row for row in factory.runs(seeds=2) if row["budget"] == own[row["method"]]]
    tables.write_table(directory / "runs.parquet", rows, tables.RUNS)
    page = Page(write_report(directory).read_text("utf8"))
    counted = tables.summarise_runs(rows, factory.AIM)
    for row, method in zip(page.tables["glance-table"][1:], factory.METHODS, strict=True):
        tally = counted[method][own[method]]
        assert row[2] == f"{tally.successes} of {tally.seeds}"
        assert _value(row[3]) == pytest.approx(tally.forget_ce, abs=5.1e-3)


def test_missing_optional_tables_leave_a_reason(tmp_path):
    directory = factory.results(tmp_path, seeds=1, budgets=(2,))
    (directory / "zero_token.parquet").unlink()
    (directory / "evidence.json").unlink()
    source = write_report(directory).read_text("utf8")
    assert "zero_token.parquet is not in this directory" in source
    assert "evidence.json is not in this directory" in source
    assert not (directory / "figures" / "zero_token.svg").exists()


def test_other_domains_and_a_failed_edit_are_reported_as_they_are(tmp_path):
    rename = {"de": "my <code>", "en": "prose"}
    directory = factory.results(tmp_path, "my <code>", "prose", rename, seeds=2, budgets=(2,))
    source = write_report(directory).read_text("utf8")
    assert "does not reliably remove my &lt;code&gt;: at best 1 of 2 seeds succeed" in source
    assert "German" not in source.replace("German-specific", "").replace("without German", "")
    Page(source)


def test_a_summary_that_contradicts_the_runs_is_called_out(tmp_path):
    directory = factory.results(tmp_path, seeds=1, budgets=(2,))
    path = directory / "summary.json"
    summary = json.loads(path.read_text())
    assert "disagrees" not in write_report(directory).read_text("utf8")
    summary["methods"]["top16"]["2"]["successes"] += 1
    path.write_text(json.dumps(summary))
    assert "disagrees with runs.parquet</strong> on top-16 scalars at 2" in write_report(directory).read_text(
        "utf8"
    )


@pytest.mark.parametrize("name", ["runs.parquet", "summary.json", "rollouts.json", "parts.parquet"])
def test_a_missing_needed_file_is_named(tmp_path, name):
    directory = factory.results(tmp_path, seeds=1, budgets=(2,))
    (directory / name).unlink()
    with pytest.raises(RankOneError, match=re.escape(name)):
        write_report(directory)


def test_every_domain_stands_at_eighty_columns_in_what_a_terminal_prints(tmp_path):
    results = read_results(factory.results(tmp_path))
    for table in (shown.budgets(results), shown.damages(results), shown.untrained(results)):
        assert "no room" not in plain(table, 80), table.title
    assert {c.name for c in shown.damages(results).columns} >= set(results.aim.retain)


def test_regions_of_the_page_are_named_and_no_two_alike(source):
    names = re.findall(r'role="group" tabindex="0" aria-label="([^"]*)"', source)
    assert not {"table", "figure"} & set(names)
    assert len(names) == len(set(names))


def test_a_response_is_told_from_where_the_part_is_as_it_was():
    """The lowest cross-entropy of English is at α = 0, but its rise is counted from α = 1."""
    values = {"en": {1.0: 1.5, 0.0: 1.25, -4.0: 1.75}, "de": {1.0: 2.0, 0.0: 3.0, -4.0: 9.0}}
    rows = [
        {"part": "a:1", "alpha": alpha, "domain": domain, "ce": ce, "rise": 0.0}
        for domain, by_alpha in values.items()
        for alpha, ce in by_alpha.items()
    ]
    assert seen_in_response(rows, "de").endswith(
        "German from 2.00 to 9.00 at α = −4; English from 1.50 to 1.75 at α = −4."
    )
