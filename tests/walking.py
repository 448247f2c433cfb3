"""A user who types the commands of the documents as they are printed, one after another, in a folder per document."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from tests.prepared import Prepared
from tests.test_docs import ROOT, program_arguments, shell_lines

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LABELLER = "http://localhost:8000/v1"
# What stands in a command for a name that its reader learns from the `find` before it → where that one says it.
_NAMED = {"PART": r"\S+/\S+:\d+", "PAIR": r"--scale (\S+\+\S+)"}


def typed(document: Path) -> list[list[str]]:
    """Words of every command of a document."""
    lines = shell_lines(document.read_text("utf8"))
    lines = [line for line in lines if not line.startswith("torchrun")]
    return [words for line in lines for words in program_arguments(line.partition(" #")[0])]


def made_by(words: list[str]) -> list[str]:
    """The folders and files that a command makes."""
    makes = ("--out", "--left-over", "--run")
    return [b for a, b in pairwise(words) if a in makes]


@dataclass
class Walk:
    """`changes`: beginning of a command → words exchanged in it, '' for words put at its end. `skip`: beginning of a command
    that is not run → why. `prepare` fills a document's folder; `environments` are those of single documents, whose commands
    start PyTorch anew, as the libraries read some of it while they are imported; all others are typed to `prepared`."""

    root: Path
    changes: dict[str, list[tuple[str, str]]]
    skip: dict[str, str]
    prepare: Callable[[Path], None]
    environment: dict[str, str]
    prepared: Prepared
    environments: dict[str, dict[str, str]] = field(default_factory=dict)
    ran: dict[str, Path] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def folder(self, document: Path) -> Path:
        """A document's folder, with what its reader has."""
        folder = self.root / document.stem
        if not folder.exists():
            folder.mkdir()
            self.prepare(folder)
        return folder

    def document(self, document: Path) -> list[str]:
        """Everything that a document prints; what was wrong."""
        wrong = [self.command(words, document) for words in typed(document)]
        return [one for one in wrong if one]

    def command(self, words: list[str], document: Path) -> str:
        """One command; what was wrong, or ''."""
        line = " ".join(words)
        if any(line.startswith(start) for start in self.skip):
            return ""
        folder = self.folder(document)
        if line in self.ran and all((self.ran[line] / one).is_dir() for one in made_by(words)):
            self._copy(made_by(words), self.ran[line], folder)
            return ""
        self._bring(words, document)
        started = time.monotonic()
        go = self._serve if words[0] == "studio" else self._run
        wrong = go(self._as_typed(line, words, document), folder)
        self.seconds[line] = time.monotonic() - started
        sys.stdout.write(f"{self.seconds[line]:6.1f} s  {document.name}: rankone {line}\n{wrong}")
        sys.stdout.flush()
        self.ran[line] = folder
        return wrong and f"{document.name}: rankone {line}\n{wrong}"

    def _as_typed(self, line: str, words: list[str], document: Path) -> list[str]:
        for start, exchanges in self.changes.items():
            if line.startswith(start):
                for old, new in exchanges:
                    if old in _NAMED:
                        new = self._named(_NAMED[old], document)
                    at = words.index(old) if old else len(words)
                    words = [*words[:at], *new.split(), *words[at + 1 :]]
        return words

    def _named(self, pattern: str, document: Path) -> str:
        """The first name of this form in what the document's `find` printed."""
        (words,) = (w for w in typed(document) if w[0] == "find")
        ran = self._as_typed(" ".join(words), words, document)
        return re.findall(pattern, self.said[" ".join(ran)])[0]

    def _bring(self, words: list[str], document: Path) -> None:
        """What a command reads and a command of another document makes."""
        folder = self.folder(document)
        for word in words:
            if word in made_by(words) or not word.startswith("runs/") or (folder / word).exists():
                continue
            for other in DOCUMENTS:
                for one in typed(other):
                    if word in made_by(one) and not any(" ".join(one).startswith(s) for s in self.skip):
                        if " ".join(one) not in self.ran:
                            self.command(one, other)
                        self._copy([word], self.folder(other), folder)
                        break

    @staticmethod
    def _copy(names: list[str], old: Path, new: Path) -> None:
        for name in names:
            if (old / name).is_dir():
                shutil.copytree(old / name, new / name, dirs_exist_ok=True)

    def _environment(self, folder: Path) -> dict[str, str]:
        return {
            **os.environ,
            **self.environment,
            **self.environments.get(folder.name, {}),
            "TMPDIR": str(folder / "tmp"),
        }

    def _run(self, words: list[str], folder: Path) -> str:
        environment = self._environment(folder)
        if folder.name in self.environments:
            command = [sys.executable, "-m", "rankone", *words]
            done = subprocess.run(
                command, capture_output=True, text=True, cwd=folder, env=environment, check=False
            )
        else:
            done = self.prepared.run(words, folder, environment)
        self.said[" ".join(words)] = done.stdout
        rules = [line for line in done.stdout.splitlines() if line.startswith("──")]
        if done.returncode != 0 or not done.stdout.strip() or "Traceback" in done.stderr:
            return f"exit {done.returncode}\n{done.stdout[-300:]}\n{done.stderr[-1500:]}\n"
        if any(len(line) > 80 for line in rules):
            return "a table wider than 80 columns\n"
        return ""

    def _serve(self, words: list[str], folder: Path) -> str:
        """What runs until it is stopped: its page comes by the address it prints, and Ctrl-C ends it quietly."""
        command = [sys.executable, "-m", "rankone", *words]
        environment = {**self._environment(folder), "PYTHONUNBUFFERED": "1", "BROWSER": "true"}
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        try:
            if not line.startswith("studio: http"):
                return f"said {line!r}\n{process.stderr.read()[-1500:]}\n"
            html = page_at(line.split()[1])
        except OSError as error:
            return f"{line}{error}\n"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
        ended = process.stderr.read()
        return "" if "<html" in html and "Traceback" not in ended else f"{html[:300]}\n{ended[-1500:]}\n"


def page_at(address: str, seconds: float = 60) -> str:
    """The page of a server of this machine by the address that it printed, whichever name that has."""
    parts = urlsplit(address)
    key = parse_qs(parts.query)["token"][0]
    here = urlunsplit(parts._replace(netloc=f"127.0.0.1:{parts.port}"))
    request = Request(here, headers={"Host": parts.netloc, "Authorization": f"Bearer {key}"})
    end = time.monotonic() + seconds
    while True:
        try:
            with urlopen(request, timeout=60) as page:
                return page.read().decode()
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def labeller(body: dict) -> object:
    """A label for a request for one; for a judgement the numbers of the windows that are marked."""
    if "numbers" in json.dumps(body["response_format"]):
        lines = body["messages"][1]["content"].split("\n")
        return {"numbers": [int(x.split(".")[0]) for x in lines if re.match(r"\d+\. .*<<", x)]}
    return None
