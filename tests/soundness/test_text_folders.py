"""Text that strangers made (kinds of cases 12, 13, 20, 34): read whole, or refused by file and line; never in part."""

from __future__ import annotations

import json
import os
import resource
import time

import pytest
import zstandard
from tests.soundness.hostile import DOCUMENT, ROWS, faulty_recipe, faulty_text

from rankone.core.errors import RankOneError
from rankone.decomposition.config import DecomposeConfig
from rankone.text.chats import Chat
from rankone.text.corpus import SPLITS
from rankone.text.sources.directory import DirectoryCorpus

TWO = ["Erster Satz.", "Zweiter Satz."]
PACKED = zstandard.compress("\n\n".join(TWO).encode())


def lines(*rows):
    return "\n".join(json.dumps(row) for row in rows).encode()


READ = {
    "blank lines": ("a.txt", "\n\n".join(TWO).encode(), TWO),
    "many blank lines": ("a.txt", b"Erster Satz.\n\n \n\t\n\nZweiter Satz.\n\n\n", TWO),
    "windows lines": ("a.txt", "\r\n\r\n".join(TWO).encode(), TWO),
    "old Mac lines": ("a.txt", "\r\r".join(TWO).encode(), TWO),
    "form feeds": ("a.txt", "\f".join(TWO).encode(), TWO),
    "a byte order mark": ("a.txt", b"\xef\xbb\xbf" + "\n\n".join(TWO).encode(), TWO),
    "no newline at the end": ("a.txt", b"Erster Satz.", TWO[:1]),
    "two frames": (
        "a.txt.zst",
        zstandard.compress(b"Erster Satz.\n\n") + zstandard.compress(b"Zweiter Satz."),
        TWO,
    ),
    "a frame of nothing between": (
        "a.txt.zst",
        zstandard.compress(b"") + PACKED + zstandard.compress(b""),
        TWO,
    ),
    "rows": ("a.jsonl", lines(*({"text": text} for text in TWO)), TWO),
    "rows with blank lines between": (
        "a.jsonl",
        b"\n" + lines({"text": TWO[0]}) + b"\n\n" + lines({"text": TWO[1]}) + b"\n\n",
        TWO,
    ),
    "rows with other keys": ("a.jsonl", lines({"id": 3, "text": TWO[0], "meta": {"x": None}}), TWO[:1]),
    "rows with windows lines": (
        "a.jsonl",
        lines(*({"text": text} for text in TWO)).replace(b"\n", b"\r\n"),
        TWO,
    ),
    "rows with a byte order mark": ("a.jsonl", b"\xef\xbb\xbf" + lines({"text": TWO[0]}), TWO[:1]),
    "packed rows": ("a.jsonl.zst", zstandard.compress(lines({"text": TWO[0]})), TWO[:1]),
    "text that looks like JSON": ("a.txt", b'{"text": "a"}', ['{"text": "a"}']),
    "a pair of surrogates": ("a.jsonl", b'{"text": "\\ud83d\\ude00"}', ["\U0001f600"]),
    "letters beyond the first plane": ("a.txt", "\U0001d518 \U0001f600".encode(), ["\U0001d518 \U0001f600"]),
    "line separators of Unicode are no line ends": (
        "a.jsonl",
        '{"text": "a\u2028b\u0085c"}'.encode(),
        ["a\u2028b\u0085c"],
    ),
}
REFUSED = {
    "half a surrogate pair": (("a.jsonl", b'{"text": "\\ud83d a"}'), "line 1: half of a surrogate pair"),
    "half a pair, third line": (
        ("a.jsonl", lines({"text": "a"}, {"text": "b"}) + b'\n{"text": "\\udc00"}'),
        "line 3: half of a surrogate pair",
    ),
    "latin-1": (("a.txt", "Grüße\nund mehr".encode("latin-1")), "line 1: .*codec.*UTF-8"),
    "UTF-16": (("a.txt", DOCUMENT.encode("utf-16")), "UTF-8"),
    "a cut letter": (("a.txt", "schön"[:4].encode()[:-1]), "UTF-8"),
    "NUL": (("a.txt", b"a\0b"), "NUL bytes"),
    "a picture": (("a.txt", b"\x89PNG\r\n\x1a\n" + bytes(range(256))), "UTF-8|NUL"),
    "a cut frame": (("a.txt.zst", PACKED[:-3]), "ends in the middle of a zstd frame"),
    "a frame and half a frame": (
        ("a.txt.zst", PACKED + PACKED[: len(PACKED) // 2]),
        "middle of a zstd frame",
    ),
    "no frame": (("a.txt.zst", b"not packed at all"), "cannot read text"),
    "a frame with rubbish behind": (("a.txt.zst", PACKED + b"rubbish, and more of it"), "cannot read text"),
    "an empty packed file": (("a.txt.zst", b""), "holds no text: .*every other file of it is empty"),
    "a row cut": (("a.jsonl", lines({"text": "a"}) + b'\n{"text": "b'), "line 2: not JSON"),
    "a row of null": (("a.jsonl", b"null"), "line 1: not a JSON object"),
    "a row of a number": (("a.jsonl", b"3"), "line 1: not a JSON object"),
    "a row without text": (("a.jsonl", b'{"title": "a"}'), "line 1: no document in it.*it has title"),
    "a row of null text": (("a.jsonl", b'{"text": null}'), "line 1: no document in it"),
    "a row of number text": (("a.jsonl", b'{"text": 3}'), "line 1: no document in it"),
    "a row too deep": (("a.jsonl", b'{"text": ' + b"[" * 9000), "line 1: it nests too deep"),
    "a number of 5,000 digits": (("a.jsonl", b'{"n": ' + b"9" * 5000 + b', "text": "a"}'), "line 1: "),
    "a message without a role": (
        ("a.jsonl", b'{"messages": [{"content": "a"}]}'),
        "line 1: a message without",
    ),
    "a message of a picture": (
        ("a.jsonl", b'{"messages": [{"role": "user", "content": [{"type": "image"}]}]}'),
        "line 1: a message with parts that are not text",
    ),
    "a key twice": (("a.jsonl", b'{"text": "a", "text": "b"}'), "line 1: the key 'text' stands there twice"),
    "JSON over several lines": (
        ("a.jsonl", json.dumps({"text": "a"}, indent=1).encode()),
        "line 1: not JSON",
    ),
}


@pytest.fixture
def corpus(tmp_path):
    def make(name, content):
        (tmp_path / "text" / "de").mkdir(parents=True)
        (tmp_path / "text" / "de" / name).write_bytes(content)
        return DirectoryCorpus(tmp_path / "text")

    return make


def everything(found):
    return [d for split in SPLITS for d in found.documents("de", split)]


@pytest.mark.parametrize("case", READ)
def test_text_is_read_whole(case, corpus):
    name, content, documents = READ[case]
    assert sorted(everything(corpus(name, content))) == sorted(documents)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_whole_is_refused_by_file_and_line(case, corpus):
    (name, content), said = REFUSED[case]
    with pytest.raises(RankOneError, match=said) as refused:
        everything(corpus(name, content))
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_form_of_a_row_is_a_document(corpus):
    found = everything(corpus("a.jsonl", lines(*ROWS)))
    assert len(found) == len(ROWS)
    assert sum(isinstance(d, Chat) for d in found) == 2


@pytest.mark.parametrize("seed", range(60))
def test_drawn_faults_are_named_or_read(seed, tmp_path):
    """As in fuzz.py, whose 10,000 these begin: in a sixth of the memory."""
    said = faulty_text(tmp_path / "text", seed)
    used = int(open("/proc/self/statm", encoding="ascii").read().split()[0]) * resource.getpagesize()  # noqa: SIM115
    before, refusal = resource.getrlimit(resource.RLIMIT_AS), ""
    resource.setrlimit(resource.RLIMIT_AS, (used + (350 << 20), before[1]))
    try:
        found = DirectoryCorpus(tmp_path / "text")
        found.fingerprint()
        for domain in found.domains():
            assert all(d.encode() for split in SPLITS for d in found.documents(domain, split)), said
    except RankOneError as error:
        refusal = str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert "\n" not in refusal


@pytest.mark.parametrize("seed", range(60))
def test_drawn_recipes_are_named_or_read(seed, tmp_path):
    said = faulty_recipe(tmp_path / "recipe.yaml", seed)
    refusal = ""
    try:
        DecomposeConfig.from_yaml(tmp_path / "recipe.yaml")
    except RankOneError as error:
        refusal = str(error)
    assert not refusal or "recipe.yaml" in refusal, said
    assert len(refusal) < 20_000


BLANKS = {
    "alone": "\n" * 400_000,
    "between form feeds": "a\fb" + "\n" * 400_000 + "c\fd",
    "between letters": ("a" + "\n" * 50_000) * 8,
    "of spaces": ("a\n" + " " * 50_000) * 8,
}


@pytest.mark.parametrize("case", BLANKS)
def test_long_runs_of_blank_lines_take_no_time(case, corpus):
    """A bomb of them took the better part of a minute; a search by pattern took n² steps over n of them."""
    found = corpus("a.txt", BLANKS[case].encode())
    begun = time.process_time()
    everything(found)
    assert time.process_time() - begun < 1.0


def test_an_odd_name_is_shown_as_it_is(corpus, tmp_path):
    found = corpus("fine.txt", b"a")
    with open(os.path.join(os.fsencode(tmp_path / "text" / "de"), b"\xff.txt"), "wb") as stream:
        stream.write(b"b\n\nc")
    assert sorted(everything(DirectoryCorpus(tmp_path / "text"))) == ["a", "b", "c"]
    assert found.domains() == ["de"]
