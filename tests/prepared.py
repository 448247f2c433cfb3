"""A process that has imported everything and does commands in children of its own, as if each were typed.

A child has its folder, its environment and its words, and leaves its output and its exit status; it only need not read
PyTorch and transformers from disk once more. What these read from the environment while they are imported (HF_HOME and its
like) is that of the process: a command that needs another is started by itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SERVER = """
import importlib, json, os, pkgutil, sys, traceback
from rankone.runtime.quiet import quiet_libraries
quiet_libraries()
import rankone
from tests.render import kept
for module in pkgutil.walk_packages(rankone.__path__, "rankone."):
    if ".assets" not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    status = 70
    try:
        for number, path in ((1, asked["out"]), (2, asked["err"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = ["rankone", *asked["words"]]
        from rankone.cli import main
        if asked["tables"]:
            kept.keep(asked["tables"])
        main()
        status = 0
    except SystemExit as stopped:
        status = stopped.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
"""


@dataclass
class Done:
    """How a command ended, as subprocess.CompletedProcess has it."""

    returncode: int
    stdout: str
    stderr: str


class Prepared:
    """The process, with the environment that its libraries are imported in."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def run(
        self, words: list[str], folder: Path, environment: dict[str, str], tables: Path | None = None
    ) -> Done:
        """`rankone WORDS`, typed in a folder; the tables that it prints are also kept in a file, if one is named."""
        assert self.process.stdin is not None
        with tempfile.TemporaryDirectory() as place:
            out, err = Path(place) / "out", Path(place) / "err"
            asked = {
                "tables": None if tables is None else str(tables),
                "words": words,
                "cwd": str(folder),
                "environment": environment,
                "out": str(out),
                "err": str(err),
            }
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
            status = int(self._answer())
            return Done(status, out.read_text("utf8"), err.read_text("utf8"))

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)
