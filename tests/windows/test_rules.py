"""The rules refuse what Windows refuses and nothing else, and what every artefact is written by keeps them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.rooms import ROOT
from tests.windows.rules import below, portable

HOME = ROOT.parents[1]
REFUSED = {
    "a colon": "open('h.3:270', 'w')",
    "a folder of a reserved name": "os.mkdir('con')",
    "removed while open": "kept = open('a'); os.remove('a')",
    "removed while mapped": "kept = mmap.mmap(os.open('a', os.O_RDONLY), 0, prot=mmap.PROT_READ); Path('a').unlink()",
    "replaced while open": "kept = open('a'); os.replace('b', 'a')",
    "renamed while open": "kept = open('folder/a'); Path('folder').rename('other')",
    "a rename over a file": "os.rename('b', 'a')",
    "a tree with an open file": "kept = open('folder/a'); shutil.rmtree('folder')",
    "a link": "os.symlink('a', 'link')",
    "a module": "import resource",
}
ALLOWED = {
    "reading": "open('a').read()",
    "written, replaced, removed": "open('c', 'w').close(); os.replace('c', 'a'); os.remove('a')",
    "a folder moved": "Path('folder').rename('other'); shutil.rmtree('other')",
    "an atomic file": "write_text(Path('a'), 'x'); write_text(Path('new'), 'x', new=True)",
    "an artefact": """
with new_artifact(Path('deep/made'), 'card') as staging:
    write_text(staging / 'card.json', '{}')
with new_artifact(Path('deep/made'), 'card', replace=True) as staging:
    write_text(staging / 'card.json', '{}')
copy_artifact(open_artifact('deep/made'), 'deep/copied')
remove_artifact(Path('deep/copied'), 'card')
assert sorted(os.listdir('deep')) == ['made'], os.listdir('deep')
""",
    "what a killed writer left": """
left = retired(Path('out'))
left.mkdir()
assert clean(Path()) and os.listdir('out') == []
""",
}
CODE = """
import mmap, os, shutil, sys
from pathlib import Path
import rankone.core.artifact
from rankone.core.artifact import copy_artifact, new_artifact, open_artifact, remove_artifact, write_text
from rankone.core.claims import clean, retired
from tests.windows.rules import Rules

rankone.core.artifact.environment = dict  # it asks PyTorch, which takes seconds
rules = Rules(Path.cwd())
rules.keep()
for name, code in {cases!r}.items():
    os.mkdir(name.replace(' ', '-'))
    os.chdir(name.replace(' ', '-'))
    os.mkdir('folder')
    for file in ('a', 'b', 'folder/a'):
        Path(file).write_text('x')
    rules.broken.clear()
    try:
        exec(code, globals())
    except (OSError, ImportError) as error:
        rules.broken.append(str(error))
    kept = None
    os.chdir('..')
    print(f"{{name}}: {{rules.broken[0] if rules.broken else 'ok'}}")
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What came of each case: 'ok', or what was refused."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(cases=REFUSED | ALLOWED)],
        cwd=tmp_path_factory.mktemp("windows"),
        env={"PYTHONPATH": f"{HOME}:{HOME / 'src'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("case", REFUSED)
def test_what_windows_refuses_is_refused(said, case):
    assert said[case] != "ok"


@pytest.mark.parametrize("case", ALLOWED)
def test_what_windows_allows_is_allowed(said, case):
    assert said[case] == "ok"


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("manifest.json", True),
        ("shard-000-of-001", True),
        (".hidden", True),
        ("h.3:270", False),
        ("neuron/3", False),
        ("con.json", False),
        ("trailing.", False),
        ("line\nbreak", False),
    ],
)
def test_names_that_windows_takes(name, taken):
    assert portable(name) is taken


@pytest.mark.parametrize("folder", ["docs", "perf", "src", "tests"])
def test_what_is_committed_can_be_checked_out(folder):
    """Artefacts of every kind that was ever released lie in tests/golden."""
    assert list(below(HOME / folder)) == []


def test_names_that_differ_by_case_alone_are_found(tmp_path):
    for name in ("a", "A", "b"):
        (tmp_path / name).touch()
    assert sorted(Path(path).name for path in below(tmp_path)) == ["A", "a"]
