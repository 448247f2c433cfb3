"""Lines of code by hand: neither blanks nor comments nor docstrings count."""

from __future__ import annotations

from perf.lines import code_lines


def test_by_hand():
    source = """'''Doc
of two lines.'''

# A comment.
RATE = 3  # counts, as code stands before it


def f(x):
    '''Doc.'''
    text = '''counts,
    all three

    lines and a blank one'''
    return (
        x, text
    )
"""
    assert code_lines(source) == 9
