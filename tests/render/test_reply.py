"""A reply shows itself: on a terminal, in a notebook, as its first table."""

from __future__ import annotations

from rankone.render.reply import Reply
from rankone.render.tables import Table


class Counted(Reply):
    """A reply of two tables and a line."""

    count: int

    def tables(self):
        return tuple(Table.of(title, ["a"], [[self.count], [2]]) for title in ("one", "<two>"))

    def lines(self):
        return ("saved <here>",)


def test_a_reply_shows_all_of_itself_in_a_notebook():
    html = Counted(count=1)._repr_html_()
    assert html.count("<table ") == 2
    assert "&lt;two&gt;" in html
    assert html.endswith("<p>saved &lt;here&gt;</p>")


def test_its_first_table_is_at_hand():
    reply = Counted(count=1)
    assert reply.table.title == "one"
    assert reply.head(1).rows == ((1,),)
    assert str(reply).endswith("saved <here>")


def test_what_is_not_finite_is_null_for_programs():
    class Measured(Reply):
        value: float

    assert Measured(value=float("nan")).model_dump_json() == '{"value":null}'
