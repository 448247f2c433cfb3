"""Every message that the code can raise has a family with a page; codes are known by words of the messages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rankone.doctor.checkup import check
from rankone.doctor.families import families, family_named, family_of
from rankone.doctor.pages import by_family, messages, page, table

ROOT = Path(__file__).resolve().parents[2]
# Codes that a release has had: each stays.
CODES = {
    "tracker",
    "hub-login",
    "hub-unreachable",
    "hub-place",
    "output-exists",
    "output-place",
    "two-writers",
    "other-run",
    "unfinished-run",
    "altered",
    "newer-schema",
    "can-run-code",
    "other-model",
    "half-read-model",
    "quantised",
    "no-weights",
    "no-causal-model",
    "no-model",
    "no-site",
    "table",
    "no-text",
    "too-little-text",
    "unreadable-text",
    "prompt",
    "no-part",
    "nothing-suitable",
    "missing-input",
    "graph-cut",
    "no-path",
    "recipe",
    "not-finite",
    "export",
    "edit-in-force",
    "no-device",
    "missing-package",
    "label-server",
    "graph",
    "given-twice",
    "unknown-choice",
    "option-conflict",
    "shapes",
    "refused",
}


def test_codes_are_there_once_and_stay():
    codes = [family.code for family in families()]
    assert len(codes) == len(set(codes))
    assert set(codes) >= CODES
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)
    assert families()[-1].says == ()
    assert all(family.says for family in families()[:-1])


def test_every_message_of_the_code_is_on_a_page():
    listed = by_family()
    assert sum(map(len, listed.values())) == len(messages()) > 400
    for family in families():
        shown = page(family, listed[family.code])
        assert shown.startswith(f"# {family.code}\n")
        assert shown.count("\n- ") == len(listed[family.code]) > 0
        assert family.see == "security.md" or (ROOT / "docs" / family.see).is_file()


def test_few_messages_have_no_family_of_their_own():
    assert len(by_family()["refused"]) <= len(messages()) * 0.07


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (
            "output 'x' already exists. Choose another name, or remove it first: nothing is overwritten.",
            "output-exists",
        ),
        ("'x/config.json' was altered or truncated: its hash is 12…, the manifest says 34….", "altered"),
        ("'x' is of kind 'edit', but 'harvest' is needed here. Check the path.", "no-path"),
        ("no text for 'german' in corpus 'builtin'; it has de, en. german is de.", "no-text"),
        ("bert sees later tokens: its prediction at a position changes", "no-causal-model"),
        ("unknown part 'h.0:9': 'h.0' keeps 3 subcomponents.", "no-part"),
        ("another run is writing to 'x'. Wait until it has ended", "two-writers"),
        ("the loss of seed 0 is not finite at step 3: lower its learning rate", "not-finite"),
        ("something nobody has thought of", "refused"),
    ],
)
def test_a_message_leads_to_its_family(said, code):
    assert family_of(said).code == code


def test_the_table_of_the_page_is_made_from_the_families():
    assert table() in (ROOT / "docs" / "errors.md").read_text("utf8")


def test_the_doctor_explains_a_code(corpus):
    family = family_named("two-writers")
    findings = list(check("two-writers", None, corpus, 5))
    assert [finding.said for finding in findings] == [family.happened, family.mend, f"docs/{family.see}"]
    assert family_named("two-writer") is None
