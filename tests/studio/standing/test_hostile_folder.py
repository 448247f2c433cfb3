"""Two hundred hostile texts in labels, tokens, examples, names of edits, corrections and folders, through `--export`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page
from tests.browser import needed
from tests.studio.browsing import chromium
from tests.studio.hostile import HOSTILE
from tests.tiny import rankone

from rankone.core.artifact import new_artifact
from rankone.core.config import Config
from rankone.core.escaping import clipped
from rankone.core.files import file_hash
from rankone.core.manifest import MANIFEST
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.label import Label
from rankone.labels.store import save_labels
from rankone.studio.kept.corrections import Corrections
from rankone.studio.kept.journal import Journal

pytestmark = needed
NAMES = [text.replace("/", "⁄").replace("\0", "␀")[:60] for text in HOSTILE]
GROUP = 4  # texts in the name of one edit
CORRECTED = 5


def _tampered(harvest: Path, out: Path) -> HarvestStore:
    """A harvest whose every token is called by a hostile text."""
    shutil.copytree(harvest, out)
    table = pq.read_table(out / "vocabulary.parquet")
    texts = pa.array(
        [HOSTILE[i % len(HOSTILE)] for i in range(table.num_rows)], table.schema.field("text").type
    )
    at = table.schema.get_field_index("text")
    pq.write_table(table.set_column(at, table.schema.field("text"), texts), out / "vocabulary.parquet")
    manifest = json.loads((out / MANIFEST).read_text("utf8"))
    manifest["files"]["vocabulary.parquet"] = file_hash(out / "vocabulary.parquet")
    (out / MANIFEST).write_text(json.dumps(manifest), "utf8")
    return HarvestStore.from_pretrained(out)


def _firing(store: HarvestStore) -> list[str]:
    return [name for name, firings in zip(store.names(), store.firings(), strict=True) if firings]


@pytest.fixture(scope="module")
def store(harvest, tmp_path_factory) -> HarvestStore:
    """The tiny harvest, its tokens hostile."""
    return _tampered(harvest, tmp_path_factory.mktemp("hostile") / "h")


@pytest.fixture(scope="module")
def out(pair, store: HarvestStore, tmp_path_factory) -> Path:
    """The folder that `rankone studio --export` writes of a workspace full of hostile texts."""
    workspace, made = tmp_path_factory.mktemp("workspace"), tmp_path_factory.mktemp("made")
    names = _firing(store)
    apart = len(names) - CORRECTED
    labels = [
        Label(name, " ".join(HOSTILE[(i - CORRECTED) % apart :: apart]), 1.0, "somebody", HOSTILE[i % 200])
        for i, name in enumerate(names)
    ]
    save_labels(made / "labels", labels, store.artifact.fingerprint, Config())
    journal = Journal(workspace / "studio")
    for i in range(0, len(HOSTILE), GROUP):
        journal.add({names[0]: -1.0}, " ".join(HOSTILE[i : i + GROUP]), journal.last)
    corrections = Corrections.of(store.artifact.path, workspace / "studio")
    for name in names[:CORRECTED]:
        corrections.add(name, HOSTILE[3], HOSTILE[4], corrections.state().last)
    for i, name in enumerate(NAMES):
        with new_artifact(workspace / f"{i} {name}", "sweep") as folder:
            (folder / "index.html").write_text("<!doctype html><title>x</title><p>A report.")
    options = ["--model", pair[0], "--decomposition", pair[1], "--harvest", store.artifact.path]
    done = rankone(
        "studio", workspace, "--export", made / "out", "--pages", 20, *options, "--labels", made / "labels"
    )
    assert done.code == 0, done.err
    return made / "out"


@pytest.fixture(scope="module")
def shown(out: Path) -> dict[str, str]:
    """What every page shows, opened from its file by a browser in which nothing was asked, said or opened."""
    said: list[str] = []
    with chromium() as browser:
        context = browser.new_context(offline=True)
        page = context.new_page()
        page.on("console", lambda m: said.append(f"console: {m.text}"))
        page.on("pageerror", lambda e: said.append(f"error: {e}"))
        page.on("dialog", lambda d: (said.append(f"dialog: {d.message}"), d.dismiss()))
        page.on("popup", lambda _: said.append("popup"))
        page.on("download", lambda _: said.append("download"))
        asked: list[str] = []
        page.on("request", lambda r: asked.append(r.url))
        texts = dict(_opened(page, out))
        context.close()
    assert not said
    assert {url.split("#")[0] for url in asked} == {(out / name).as_uri() for name in texts}
    return texts


def _opened(page: Page, out: Path) -> Iterator[tuple[str, str]]:
    opened: set[bytes] = set()  # the reports of all folders are one page, byte for byte
    for file in sorted(out.rglob("*.html")):
        if file.read_bytes() in opened:
            continue
        opened.add(file.read_bytes())
        page.goto(file.as_uri())
        page.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
        field = page.locator("input[type=search]")
        if field.count():
            field.fill(HOSTILE[0])  # the one script there is
            field.fill("")
        assert page.url == file.as_uri()
        foreign = (
            "main :is(img, iframe, object, embed, form, base, link, meta, video, math, template, textarea)"
        )
        assert page.locator(foreign).count() == 0, file
        assert page.evaluate(
            "[...document.querySelectorAll('*')].every((e) => ![...e.attributes].some((a) => a.name.startsWith('on')))"
        )
        yield file.relative_to(out).as_posix(), " ".join(page.locator("body").inner_text().split())


def _missing(texts: list[str], shown: str) -> list[str]:
    return [text for text in texts if text not in shown]


def test_every_label_is_shown_in_the_lists(shown: dict[str, str], store: HarvestStore):
    assert len(_firing(store)) > 2 * CORRECTED
    lists = " ".join(text for name, text in shown.items() if name.startswith("sites/"))
    assert not _missing([clipped(text, 2000) for text in HOSTILE], lists)


def test_every_name_of_an_edit_and_of_a_folder_is_shown(shown: dict[str, str]):
    groups = [clipped(" ".join(HOSTILE[i : i + GROUP]), 300) for i in range(0, len(HOSTILE), GROUP)]
    assert not _missing(groups, shown["edits.html"])
    assert not _missing([clipped(f"{i} {name}", 2000) for i, name in enumerate(NAMES)], shown["index.html"])


def test_tokens_and_examples_are_shown(shown: dict[str, str]):
    parts = " ".join(text for name, text in shown.items() if name.startswith("parts/"))
    seen = [text for text in HOSTILE if clipped(text, 2000) in parts]
    assert len(seen) > 150
    assert "corrected by hand" in parts or clipped(HOSTILE[3], 200) in parts
