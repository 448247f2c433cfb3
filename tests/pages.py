"""An HTML page read by the rules that all pages keep: it nests, stands alone, names its figures, runs nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

VOID = {"meta", "br"}
BLOCKS = {"div", "p", "ul", "ol", "table", "figure", "section", "nav", "h1", "h2", "h3"}
CHILDREN = {
    "ul": {"li"},
    "ol": {"li"},
    "table": {"caption", "thead", "tbody"},
    "thead": {"tr"},
    "tbody": {"tr"},
    "tr": {"td", "th"},
}
FORBIDDEN = {"script", "link", "img", "image", "iframe", "object", "embed", "base", "form", "foreignobject"}
HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


class Page(HTMLParser):
    """Tags, attributes, text and table cells of a page; fails where it breaks a rule."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.open, self.tables, self.ids, self.text = [], [], [], {}, [], ""
        self.feed(source)
        self.close()
        assert not self.open
        self._check(source)

    def handle_starttag(self, tag, attrs):
        self._note(tag, attrs)
        if self.open and self.open[-1] in CHILDREN:
            assert tag in CHILDREN[self.open[-1]], f"<{tag}> in <{self.open[-1]}>"
        # A parser closes a paragraph where a block begins, and the page comes out another than it was written.
        assert not (tag in BLOCKS and "p" in self.open), f"<{tag}> in <p>"
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(dict(attrs)["id"], [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self._note(tag, attrs)

    def _note(self, tag, attrs):
        assert len({key for key, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        assert tag != "th" or ("scope", "col") in attrs
        assert tag != "svg" or (dict(attrs).get("role") == "img" and dict(attrs).get("aria-label"))
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def _check(self, source):
        head = source[:1000].encode()
        assert head.startswith(b"<!doctype html>")
        assert b'<html lang="en"><head><meta charset="utf-8">' in head
        assert "default-src 'none'" in dict(self.attributes).get("content", "") + source[:1000]
        assert self.tags.count("h1") == 1
        assert re.search(r"<title>[^<]*\w[^<]*</title>", source)
        assert not FORBIDDEN & set(self.tags)
        assert len(set(self.ids)) == len(self.ids), "an id is given twice"
        assert not [i for i in self.ids if re.search(r"\s", i)]
        assert not [k for k, _ in self.attributes if k == "src" or k.startswith("on")]
        links = [value for key, value in self.attributes if key.endswith("href")]
        assert {value[:1] for value in links} <= {"#"}
        assert {value[1:] for value in links} <= set(self.ids)
        assert not re.search(r"url\((?!#)|@import", source)
        assert not HIDDEN.search(source)
        assert not re.search(r"&(?!(#\d+|#x[0-9a-f]+|[a-z]+);)", source)
        for drawing in re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL):
            ET.fromstring(drawing)
