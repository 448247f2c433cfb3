"""The page's JavaScript against the server's models, by TypeScript's compiler (`make types` installs it; needs node)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rankone.studio.types.declarations import declarations

STUDIO = Path(__file__).resolve().parents[2] / "src" / "rankone" / "studio"
MODULES = Path(sys.prefix) / "types" / "node_modules"
COMPILER = MODULES / ".bin" / "tsc"
# `.ci/run` sets it: there a missing compiler fails the tests.
NEEDED = "RANKONE_NEEDS_TYPES"
needed = pytest.mark.skipif(
    NEEDED not in os.environ and (shutil.which("node") is None or not COMPILER.exists()),
    reason="needs node and `make types`",
)


def found(folder: Path, static: Path = STUDIO / "static") -> str:
    """What the compiler says of a page's files; '' where nothing is wrong."""
    config = {
        "extends": str(STUDIO / "types" / "tsconfig.json"),
        "compilerOptions": {
            "paths": {
                "/static/vendor/lit-html.js": [str(MODULES / "lit-html" / "lit-html.d.ts")],
                "/static/vendor/signals-core.js": [
                    str(MODULES / "@preact" / "signals-core" / "dist" / "signals-core.d.ts")
                ],
                "/static/*": [f"{static}/*"],
            }
        },
        "include": [str(STUDIO / "types" / "api.d.ts"), f"{static}/*.js", f"{static}/views/*.js"],
    }
    (folder / "tsconfig.json").write_text(json.dumps(config))
    ran = subprocess.run(
        [str(COMPILER), "-p", str(folder)], capture_output=True, text=True, timeout=120, cwd=folder
    )
    assert ran.returncode in (0, 1, 2), ran.stderr
    return ran.stdout


def test_the_types_are_those_of_the_models():
    """Mend: `make api`."""
    assert (STUDIO / "types" / "api.d.ts").read_text("utf8") == declarations()


@needed
def test_the_page_fits_what_the_server_says(tmp_path):
    assert found(tmp_path) == ""


@needed
@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("views/runs.js", "run.quiet", "run.silent"),  # a field that no model has
        ("views/part.js", '"/api/part"', '"/api/parts"'),  # a route that is none
        ("views/edits.js", "{ entry, as }", "{ as }"),  # a body that lacks a field
    ],
)
def test_what_does_not_fit_is_found(tmp_path, file, right, wrong):
    static = tmp_path / "static"
    shutil.copytree(STUDIO / "static", static)
    content = (static / file).read_text("utf8")
    if right not in content:
        pytest.fail(f"{file} has no {right}")
    (static / file).write_text(content.replace(right, wrong, 1), "utf8")
    assert Path(file).name in found(tmp_path, static)
