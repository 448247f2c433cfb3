"""Standard output takes every character that results have, wherever it goes."""

from __future__ import annotations

import io

import pytest

from rankone.cli.output import write_all_characters


class Terminal(io.BytesIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        return True


def written(raw, text="α −8"):
    """What arrives of a text on a stream whose encoding is that of Windows in western Europe."""
    stream = io.TextIOWrapper(raw, encoding="cp1252")
    write_all_characters(stream)
    stream.write(text)
    stream.flush()
    return raw.getvalue()


@pytest.fixture(autouse=True)
def _nothing_settled(monkeypatch):
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)


def test_without_it_the_characters_cannot_be_written():
    with pytest.raises(UnicodeEncodeError):
        io.TextIOWrapper(io.BytesIO(), encoding="cp1252").write("α −8")


def test_a_pipe_and_a_file_get_utf8():
    assert written(io.BytesIO()).decode("utf8") == "α −8"


def test_a_terminal_keeps_its_encoding():
    assert written(Terminal(), "ä α") == "ä ?".encode("cp1252")


def test_so_does_a_pipe_for_which_one_is_chosen(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    assert written(io.BytesIO(), "ä α") == "ä ?".encode("cp1252")


def test_a_stream_that_is_no_file_is_left_alone():
    write_all_characters(io.StringIO())
