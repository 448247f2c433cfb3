"""An optional package really is optional: blocked, everything imports, and what needs it names it and the mend.

Each case runs in a fresh interpreter in which the package cannot be imported.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from tests.fresh import run

from rankone.core.errors import RankOneError
from rankone.core.optional import optional

ROOT = Path(__file__).resolve().parents[2]
# extra → what it brings, and code that needs it.
NEEDING = {
    "hub": (
        "datasets",
        "from rankone.text.opening import open_corpus\nopen_corpus('hf:owner/name').domains()",
    ),
    "label": (
        "openai",
        "from pathlib import Path\nfrom rankone.labels.model.budget import Caps\n"
        "from rankone.labels.model.server import Server\nfrom rankone.labels.run import open_client\n"
        "open_client(Server(base_url='http://localhost:1/v1', model='m'), None, Caps(), Path('run'))",
    ),
    "wandb": (
        "wandb",
        "from rankone.decomposition.importers.source import open_source\nopen_source('wandb:someone/spd/runs/s-87654321')",
    ),
    "tensorboard": (
        "tensorboard",
        "from rankone.runtime.tracking.registry import require_trackers\nrequire_trackers(['tensorboard'])",
    ),
}
TELL = """
from rankone.core.errors import RankOneError
try:
{code}
except RankOneError as error:
    print(error)
"""


@pytest.mark.parametrize("extra", NEEDING)
def test_what_needs_a_missing_package_names_it_and_the_mend(extra, tmp_path):
    package, code = NEEDING[extra]
    indented = "\n".join("    " + line for line in code.splitlines())
    done = run(TELL.format(code=indented), (package,), tmp_path)
    assert f"the package '{package}' is needed" in done.stdout, done.stderr
    assert f"pip install 'rankone[{extra}]'" in done.stdout


def test_everything_imports_without_any_optional_package(tmp_path):
    """Every module of the package, in one process without what only extras bring."""
    modules = sorted(
        ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "src/rankone").rglob("*.py")
        if not {"assets", "studio"} & set(path.parts) and path.stem != "__main__"
    )
    packages = (
        "datasets",
        "openai",
        "peft",
        "wandb",
        "gguf",
        "lm_eval",
        "starlette",
        "uvicorn",
        "tensorboard",
    )
    code = f"import importlib\nfor name in {modules!r}:\n    importlib.import_module(name)\nprint('all')"
    done = run(code, packages, tmp_path)
    assert done.stdout == "all\n", done.stderr


def test_every_extra_that_messages_name_is_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]["optional-dependencies"]
    assert set(NEEDING) <= set(extras)


def test_a_module_that_is_there_is_given():
    import json

    assert optional("json", "none", "nothing") is json
    with pytest.raises(RankOneError, match=r"a test: the package 'no_such' is needed .* 'rankone\[it\]'"):
        optional("no_such.part", "it", "a test")
