"""What others wrote for the page is what they published: hashes of the files in their npm packages, licences beside them."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import pytest

VENDOR = files("rankone.studio") / "static" / "vendor"
# lit-html 3.3.3 (lit-html.js) and @preact/signals-core 1.14.5 (dist/signals-core.mjs).
HASHES = {
    "lit-html.js": "b878e7f95dec8a9b6e9b217faca6b6a11bad82ebc44c0caa77419ed83edd81f2",
    "signals-core.js": "0c80bc127d72ecb1496ef116ffddae75079829a3af01e7f417c8e5a6474c68b6",
}


@pytest.mark.parametrize("name", HASHES)
def test_vendored_files_are_unaltered(name):
    content = (VENDOR / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == HASHES[name]
    licence = (VENDOR / f"{name.removesuffix('.js')}.LICENSE").read_text()
    assert "Copyright" in licence


def test_nothing_else_is_vendored():
    assert {f.name for f in VENDOR.iterdir()} == {
        n for name in HASHES for n in (name, f"{name[:-3]}.LICENSE")
    }
