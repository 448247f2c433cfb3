"""Recipes and text folders with one fault each, drawn from a seed."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml
import zstandard
from tests.golden.mutations import ODD

from rankone.recipes import shipped

RECIPES = sorted(shipped().values())
# What YAML alone can do.
_YAML = (
    "a: &a [1,1]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n",
    "!!python/object/apply:os.system ['true']\n",
    "? [a, b]\n: 1\n",
    "steps: 1e400\n",
    "steps: .nan\n",
    "steps: 2001-02-30\n",
    "steps: !!binary x\n",
    "steps: " + "9" * 5000 + "\n",
    "- " * 3000 + "\n",
    "[" * 3000,
    "{" * 3000,
    "a: b: c\n",
    "\ta: 1\n",
    "%TAG ! x\n---\na: 1\n",
    "--- 1\n--- 2\n",
    "\u0085\u2028\ufeffa: 1\n",
    "",
    "\x00",
    "&x x: *x\n",
    "a: &a {b: *a}\n",
    "<<: 3\n",
    "<<: {steps: 3}\n",
)


def faulty_recipe(path: Path, seed: int) -> str:
    """Write a recipe with a fault; returns what was done."""
    draw = random.Random(seed)
    source = draw.choice(RECIPES)
    content, said = draw.choice((_other_yaml, _other_value, _other_value, _other_bytes))(source, draw)
    path.write_bytes(content)
    return f"{source.name}: {said}"


def _other_yaml(_: Path, draw: random.Random) -> tuple[bytes, str]:
    text = draw.choice(_YAML)
    return text.encode("utf8", "surrogatepass"), repr(text[:40])


def _other_bytes(source: Path, draw: random.Random) -> tuple[bytes, str]:
    content = bytearray(source.read_bytes())
    if draw.random() < 0.3:
        return bytes(content[: draw.randrange(len(content))]), "cut"
    for _ in range(draw.choice((1, 4, 32))):
        content[draw.randrange(len(content))] = draw.randrange(256)
    return bytes(content), "other bytes"


def _other_value(source: Path, draw: random.Random) -> tuple[bytes, str]:
    values = yaml.safe_load(source.read_text("utf8"))
    holder, key = draw.choice(list(_places(values)))
    holder[key] = draw.choice((*ODD, float("nan"), float("-inf"), "2020-01-01", ["a"] * 500))
    return yaml.safe_dump(values).encode(), f"{key!r} = {str(holder[key])[:40]!r}"


def _places(values: Any) -> Any:
    items = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    for key, value in list(items):
        yield values, key
        yield from _places(value)


DOCUMENT = "Der Ausschuss hat am Montag getagt.\nEr vertagte sich.\n"
ROWS: tuple[Any, ...] = (
    {"text": DOCUMENT},
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]},
    {"prompt": "a", "response": "b"},
)
_ODD_ROWS: tuple[bytes, ...] = (
    b"{}",
    b"[]",
    b"null",
    b"3",
    b'{"text": null}',
    b'{"text": 3}',
    b'{"text": "\\ud83d a"}',
    b'{"text": "a", "text": "b"}',
    b'{"messages": []}',
    b'{"messages": [3]}',
    b'{"messages": [{"role": "user"}]}',
    b'{"messages": [{"role": 3, "content": [{"type": "image"}]}]}',
    b'{"prompt": [], "response": {}}',
    b'{"conversations": [{"from": "gpt", "value": null}]}',
    b"[" * 4000,
    b'{"text": ' + b"[" * 4000,
    b'{"n": ' + b"9" * 5000 + b', "text": "a"}',
    b'{"text": NaN}',
    b'{"text": "\xff"}',
    b'{"text": "cut',
    b'"text"',
    b"\xef\xbb\xbf{}",
)


def faulty_text(folder: Path, seed: int) -> str:
    """Make a folder of text of one domain or two, with a fault; returns what was done."""
    draw = random.Random(seed)
    folder.mkdir()
    (folder / "en").mkdir()
    (folder / "en" / "fine.txt").write_text("\n\n".join([DOCUMENT] * 20), "utf8")
    (folder / "de").mkdir()
    kind = draw.choice(_TEXTS)
    return f"{kind.__name__.strip('_')}: {kind(folder / 'de', draw)}"


def _whole(draw: random.Random) -> tuple[str, bytes]:
    """A sound file: name and content."""
    if draw.random() < 0.5:
        name, content = "a.txt", draw.choice(("\n\n", "\f", "\r\n\r\n")).join([DOCUMENT] * 30).encode()
    else:
        rows = [json.dumps(draw.choice(ROWS)) for _ in range(30)]
        name, content = "a.jsonl", "\n".join(rows).encode()
    if draw.random() < 0.4:
        return name + ".zst", zstandard.compress(content)
    return name, content


def _altered_bytes(folder: Path, draw: random.Random) -> str:
    name, content = _whole(draw)
    altered = bytearray(content)
    for _ in range(draw.choice((1, 4, 32))):
        altered[draw.randrange(len(altered))] = draw.randrange(256)
    (folder / name).write_bytes(altered)
    return name


def _cut(folder: Path, draw: random.Random) -> str:
    name, content = _whole(draw)
    (folder / name).write_bytes(content[: draw.randrange(len(content))])
    return name


def _odd_row(folder: Path, draw: random.Random) -> str:
    rows = [json.dumps(draw.choice(ROWS)).encode() for _ in range(5)]
    odd = draw.choice(_ODD_ROWS)
    rows.insert(draw.randrange(6), odd)
    content = b"\n".join(rows)
    packed = draw.random() < 0.3
    (folder / ("a.jsonl.zst" if packed else "a.jsonl")).write_bytes(
        zstandard.compress(content) if packed else content
    )
    return repr(odd[:40])


def _odd_content(folder: Path, draw: random.Random) -> str:
    content = draw.choice(
        (
            b"",
            b"\n" * 1000,
            b"\x00" * 5000,
            b"\xff\xfe" + DOCUMENT.encode("utf-16-le"),
            b"\xef\xbb\xbf" * 3,
            b"x" * 9_000_000,
        )
    )
    name = draw.choice(("a.txt", "a.jsonl", "a.txt.zst", "a.train.txt", "a.test.jsonl"))
    (folder / name).write_bytes(content)
    return f"{name} {content[:10]!r}"


def _bomb(folder: Path, draw: random.Random) -> str:
    name = draw.choice(("a.txt.zst", "a.jsonl.zst"))
    (folder / name).write_bytes(_zeros(draw.choice((b"\0", b"a", b"\n", b"ab "))))
    return name


@cache
def _zeros(piece: bytes) -> bytes:
    """Two gigabytes in a few kilobytes."""
    frame = zstandard.compress(piece * ((1 << 27) // len(piece)), 19)
    return frame * 16


def _no_file(folder: Path, draw: random.Random) -> str:
    name = draw.choice(("a.txt", "a.jsonl", "a.txt.zst"))
    kind = draw.choice(("fifo", "device", "loop", "dangling", "folder", "sparse", "up"))
    path = folder / name
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        with path.open("wb") as stream:
            stream.truncate(10 << 30)
    else:
        target = {"device": "/dev/zero", "loop": name, "dangling": "nowhere.txt", "up": ".."}[kind]
        path.symlink_to(target)
    return f"{name} {kind}"


def _odd_name(folder: Path, draw: random.Random) -> str:
    name = draw.choice(
        (
            b"\xff.txt",
            b"a\nb.txt",
            b"\x1b[31m.txt",
            b".txt",
            b"a.TXT",
            b"a.txt.gz",
            "ü".encode() * 60 + b".txt",
        )
    )
    with open(os.path.join(os.fsencode(folder), name), "wb") as stream:
        stream.write(DOCUMENT.encode())
    return repr(name[:20])


_TEXTS: tuple[Callable[[Path, random.Random], str], ...] = (
    *(_altered_bytes,) * 4,
    *(_cut,) * 3,
    *(_odd_row,) * 5,
    *(_odd_content,) * 2,
    *(_no_file,) * 2,
    _odd_name,
    _bomb,
)
