"""Which tokens of two texts stand for each other: hand-checked, and against the fewest changes by brute force."""

from __future__ import annotations

import re
from functools import cache

import pytest
from playwright.sync_api import Page, expect
from tests.browser import needed
from tests.studio.browsing import look_into_both
from tests.studio.serving import Served

pytestmark = needed
PAIRED = """async (pairs) => {
  const { paired, together } = await import("/static/pairing.js");
  return pairs.map(([a, b]) => { const of = paired([...a], [...b]); return [of, together(of, [...b].length)]; });
}"""


@pytest.mark.parametrize(
    ("a", "b", "of"),
    [
        ("abc", "abc", [0, 1, 2]),
        ("abcd", "abXcd", [0, 1, 3, 4]),  # one inserted in the middle shifts what follows
        ("abXcd", "abcd", [0, 1, -1, 2, 3]),  # one lost
        ("abcdef", "aXbcdYef", [0, 2, 3, 4, 6, 7]),  # two inserted at two places
        ("aXbcdYef", "abcdef", [0, -1, 1, 2, 3, -1, 4, 5]),
        ("abcdef", "abXdef", [0, 1, 2, 3, 4, 5]),  # one changed
        ("abcdef", "aXcdYYef", [0, 1, 2, 3, 6, 7]),  # one changed, two inserted
        ("abcXef", "aYYbcef", [0, 3, 4, -1, 5, 6]),  # inserted before, lost after
        ("ABCh", "RThn", [0, 1, -1, 2]),  # of as few changes, those that leave a token as it is
        ("", "ab", []),
        ("ab", "", [-1, -1]),
        ("aaa", "aa", [0, 1, -1]),
    ],
)
def test_tokens_stand_for_each_other_by_the_fewest_changes(page: Page, a, b, of):
    ((found, columns),) = page.evaluate(PAIRED, [[a, b]])
    assert found == of
    assert [i for i, _ in columns if i >= 0] == list(range(len(a)))
    assert [j for _, j in columns if j >= 0] == list(range(len(b)))


def test_no_pairing_has_fewer_changes(page: Page):
    words = ["", "a", "ab", "ba", "abab", "aabb", "cabca", "abcabc", "bacbac", "ccab"]
    pairs = [[a, b] for a in words for b in words]
    for (a, b), (of, columns) in zip(pairs, page.evaluate(PAIRED, pairs), strict=True):
        assert [j for j in of if j >= 0] == sorted({j for j in of if j >= 0})
        changes = sum(i < 0 or j < 0 or a[i] != b[j] for i, j in columns)
        equal = sum(i >= 0 and j >= 0 and a[i] == b[j] for i, j in columns)
        assert (changes, -equal) == _best(a, b), (a, b, of)


@cache
def _best(a: str, b: str) -> tuple[int, int]:
    """The fewest changes, and of as few the most equal tokens (as a negative number), of all alignments."""
    if not a or not b:
        return len(a) + len(b), 0
    same = a[0] == b[0]
    steps = [(_best(a[1:], b), (1, 0)), (_best(a, b[1:]), (1, 0)), (_best(a[1:], b[1:]), (not same, -same))]
    return min((rest[0] + more[0], rest[1] + more[1]) for rest, more in steps)


def test_a_word_that_was_put_in_and_one_that_was_left_out_are_columns_of_their_own(
    page: Page, served: Served
):
    texts = "Der Ausschuss hat gestern beschlossen, dass", "Der alte Ausschuss hat beschlossen, dass"
    look_into_both(page, served, texts)
    heads = page.locator("table.difference thead button")
    expect(heads.first).to_be_visible(timeout=180_000)
    one, two = (served.json("/api/prompt", {"text": text, "top": 12})["tokens"] for text in texts)
    said = heads.all_text_contents()
    lost = [text.removesuffix(" (lost)") for text in said if text.endswith(" (lost)")]
    new = [text.removesuffix(" (changed)") for text in said if text.endswith(" (changed)")]
    assert "".join(lost).strip() == "gestern"
    assert "".join(new).strip() == "alte"
    assert len(said) == len(two) + len(lost)
    # What stands after both changes is compared with itself, though it is shifted.
    cells = page.locator("table.difference tbody tr").first.locator("td").all_inner_texts()
    rise = round(two[-1]["sums"][0] - one[-1]["sums"][0], 1)
    assert float(cells[-1].replace("−", "-")) == pytest.approx(rise, abs=0.051)
    struck = page.locator("table.difference button:has(s)").first
    struck.click()
    expect(struck).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("heading", name=re.compile("^At "))).to_have_count(1)
