"""Hand-made degenerate and sound answers are told apart."""

from __future__ import annotations

import pytest

from rankone.answers.degeneration import looped_share, repeated_share, signs

SOUND = [
    ("The capital of France is Paris.", ["en"]),
    ("1. Bananas\n2. Apples\n3. Oranges\n4. Grapes\n5. Strawberries", ["en"]),
    ("Jupiter.", ["en"]),
    ("144", ["en"]),
    ("Yes, yes, of course! The dog sleeps under the table, and the cat sleeps on the chair.", ["en"]),
    ("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday. These days are often used in a week.", ["en"]),
    ("To boil an egg, heat water in a pot. When the water boils, put the egg into the water for six minutes.", ["en"]),
    ("Um Brot zu backen, mischt man Mehl und Wasser, dann lässt man den Teig gehen.", ["de"]),
    ("In Spanish, \"good morning\" is \"buenos días\", which people say until noon.", ["en", "es"]),
    ("Pierre Dubois opened a small café in Dublin, and his crème brûlée is famous in the neighbourhood.", ["en"]),
    ("Ein Hund schläft unter dem Tisch, und niemand weckt ihn auf.", []),
]  # fmt: skip
DEGENERATE = [
    ("", ["en"], ("empty",)),
    ("  \n\n ", ["en"], ("empty",)),
    ("1. **1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1", ["en"], ("loop",)),
    ("pour pour pour pour pour pour pour pour pour pour", ["en"], ("loop",)),
    ("No, no, no! No, no! No, no! No, no! No, no! No, no! No, no! No,", ["nl"], ("loop",)),
    ("!!!!!!!!!!!!!!!!!!!!", ["en"], ("loop",)),
    ("Dear neighbour,\n\n" * 8, ["en"], ("loop",)),
    (
        "I am here to celebrate your love and your happiness on this day. "
        "I am here to celebrate your love and your happiness on this day. "
        "I am here to celebrate your love and your happiness on this day.",
        ["en"],
        ("repetition",),
    ),
    ("La réponse à cette question est que les bateaux flottent sur l'eau de la mer.", ["en"], ("language",)),
    ("Brot is baked in an oven, and then it is eaten with butter and with cheese.", ["de"], ("language",)),
]


@pytest.mark.parametrize(("text", "expected"), SOUND)
def test_sound_answers_have_no_fault(text, expected):
    assert signs(text, expected).faults == ()
    assert not signs(text, expected).degenerate


@pytest.mark.parametrize(("text", "expected", "faults"), DEGENERATE)
def test_degenerate_answers_are_named(text, expected, faults):
    found = signs(text, expected)
    assert faults[0] in found.faults
    assert found.degenerate


def test_code_is_judged_for_loops_alone():
    listing = "x = 1\ny = 2\nprint(x)\nprint(y)\nprint(x)\nprint(y)\nprint(x)\nprint(y)"
    assert signs(listing, code=True).faults == ()
    assert signs("def f():\n" + "    return 0\n" * 9, code=True).faults == ("loop",)
    assert signs("", code=True).faults == ("empty",)


def test_repetition_by_hand():
    assert repeated_share(list("abcd")) == 0
    assert repeated_share(list("ab")) == 0
    # abc bca cab abc bca: 3 of 5 are new.
    assert repeated_share(list("abcabca")) == pytest.approx(2 / 5)


def test_loops_by_hand():
    assert looped_share(list("xyz") + ["a"] * 8) == pytest.approx(8 / 11)
    assert looped_share(list("xyz") + ["a"] * 7) == 0  # fewer than 8 pieces
    assert looped_share(list("abc" * 3)) == 0  # fewer than 4 rounds
    assert looped_share(list("abc" * 4)) == 1
    assert looped_share(list("aaaaaaaaaaaax")) == 0  # not what it ends in
    assert looped_share([]) == 0
