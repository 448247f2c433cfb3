"""Do the tests bite? Small faults are put into a room's code, one at a time, and its tests should fail for each.

    make mutants ROOM=metrics                       # or: python -m perf.mutants metrics --sample 200 --seed 0
    python -m perf.mutants edits/fitting/adam.py    # one file, every fault

A mutant is a file with one operator, constant or statement changed. Killed: some test that mirrors the file fails, or else
some test of its room. One process forks for each mutant after torch is loaded, and the child imports the mutated source in
place of the file: nothing on disk is touched, one core is used, and an interrupt gives the score so far. (cosmic-ray and
mutmut start a process for each mutant, of which importing torch takes most.) Some survivors change nothing that can be seen.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from runpy import run_path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

LIBRARIES = (
    "torch transformers pytest hypothesis jaxtyping numpy scipy.optimize scipy.stats pydantic yaml pyarrow.parquet duckdb "
    "safetensors.torch rich.console typer.main matplotlib.figure jinja2 peft starlette.routing httpx sklearn datasets openai"
)
ROOT = Path(__file__).resolve().parents[1]
SOURCE, TESTS = ROOT / "src" / "rankone", ROOT / "tests"
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    **{
        ast.Lt: ast.LtE,
        ast.LtE: ast.Lt,
        ast.Gt: ast.GtE,
        ast.GtE: ast.Gt,
        ast.Eq: ast.NotEq,
        ast.NotEq: ast.Eq,
    },
    **{
        ast.Add: ast.Sub,
        ast.Sub: ast.Add,
        ast.Mult: ast.Div,
        ast.Div: ast.Mult,
        ast.And: ast.Or,
        ast.Or: ast.And,
    },
    **{ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.In: ast.NotIn, ast.NotIn: ast.In},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is},
}


class Mutant(NamedTuple):
    """One file with one fault."""

    path: Path
    line: int
    fault: str
    code: CodeType


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run, in a fixed order; annotations, texts and imports are left out."""
    yield tree
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "keywords" if isinstance(tree, ast.ClassDef) else ""):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(
                child, ast.Import | ast.ImportFrom | ast.JoinedStr
            ):
                yield from _nodes(child)


def _faults(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """(what is said of it, what stands in its place) of every fault of one node."""
    changed = copy.copy(node)
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in SWAPS:
        changed.op = SWAPS[type(node.op)]()  # pyright: ignore[reportAttributeAccessIssue]
        yield "operator", changed
        if isinstance(node, ast.AugAssign):
            yield "statement", ast.Pass()
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        changed.ops = [SWAPS[type(node.ops[0])](), *node.ops[1:]]  # pyright: ignore[reportAttributeAccessIssue]
        yield "comparison", changed
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield "sign", node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "constant", ast.Constant(node.value + 1)
        if node.value:
            yield "constant", ast.Constant(0)
    elif isinstance(node, ast.IfExp):
        yield "branch", node.body
        yield "branch", node.orelse
    elif isinstance(node, ast.Raise | ast.Continue | ast.Break) or _calls(node):
        yield "statement", ast.Pass()


def _calls(node: ast.AST) -> bool:
    """Whether a statement is a call for what it does."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


class _Put(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        """The new node for the old one; all others are walked."""
        return self.new if node is self.old else super().generic_visit(node)


def mutants(path: Path) -> Iterator[Mutant]:
    """Every mutant of a file."""
    source = path.read_text("utf8")
    tree = ast.parse(source)
    for number, node in enumerate(_nodes(tree)):
        for which, (kind, _) in enumerate(_faults(node)):
            fresh = ast.parse(source)
            old = next(n for i, n in enumerate(_nodes(fresh)) if i == number)
            new = list(_faults(old))[which][1]
            line = getattr(old, "lineno", 0)
            before = ast.unparse(old).splitlines()[0]
            mutated: ast.Module = _Put(old, ast.copy_location(new, old)).visit(fresh)
            ast.fix_missing_locations(mutated)
            yield Mutant(
                path, line, f"{kind}: {before}  →  {ast.unparse(new)}", compile(mutated, str(path), "exec")
            )


def mirroring(path: Path) -> list[list[Path]]:
    """The tests that mirror a file and the room's own, then all of its room: run only for what the first let live."""
    place = path.relative_to(SOURCE)
    room, folder = TESTS / place.parts[0], TESTS / place.parent
    stem = f"test_{place.stem}.py"
    near = [folder / stem, folder.parent / stem, folder.parent / f"test_{place.parent.name}.py"]
    mirrored = [p for p in near if p.is_file()] or sorted(folder.glob("test_*.py"))
    whole = room / f"test_{place.parts[0]}.py"
    mirrored += [whole] if whole.is_file() and whole not in mirrored else []
    return [mirrored, [room]] if mirrored else [[room]]


class _Mutated(MetaPathFinder, Loader):
    """Gives a mutant's code where its module is imported."""

    def __init__(self, mutant: Mutant) -> None:
        place = mutant.path.relative_to(SOURCE.parent).with_suffix("")
        parts = place.parts[:-1] if place.name == "__init__" else place.parts
        self.mutant, self.name, self.package = mutant, ".".join(parts), place.name == "__init__"

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The mutated module; all others are left to the usual finders."""
        del path, target
        if fullname != self.name:
            return None
        spec = spec_from_loader(fullname, self, origin=str(self.mutant.path), is_package=self.package)
        if spec is not None:
            spec.has_location = True
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """Run the mutated code."""
        exec(self.mutant.code, vars(module))


def survives(mutant: Mutant | None, tests: list[Path], limit: float) -> bool:
    """Whether all tests pass, in a child; over `limit` seconds counts as killed. None: the code as it is."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        # What the parent made is left alone: its threads are gone, and collecting what they held can end in a crash.
        gc.freeze()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        if mutant is not None:
            sys.meta_path.insert(0, _Mutated(mutant))
        import pytest

        code = 2
        try:
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *map(str, tests)]))
        finally:
            os._exit(0 if code == 0 else 1)
    end = time.monotonic() + limit
    try:
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return status == 0
            time.sleep(0.02)
        return False
    finally:
        _end(child)


def _end(child: int) -> None:
    """Kill a child that still runs, and what it started."""
    try:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Score the tests of a room by small faults in its code.")
    parser.add_argument("place", nargs="+", help="rooms, sub-rooms or files below src/rankone")
    parser.add_argument(
        "--sample", type=int, default=0, help="faults tried of all, drawn by the seed; 0: every one"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--near", action="store_true", help="only the tests that mirror a file, not all of its room"
    )
    return parser.parse_args()


def load_libraries() -> None:
    """Import what tests and code import of others once, in the environment of the tests: nothing of RankOne's.

    The libraries read it while they are imported. Without it their progress bars come among what commands say, and tests
    that read it fail in the children without a fault.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # as tests/conftest.py has it
    os.environ.update({**run_path(str(SOURCE / "runtime" / "quiet.py"))["QUIET"], **os.environ})
    for name in LIBRARIES.split():
        with suppress(ImportError):
            import_module(name)
    sys.modules["torch"].set_num_threads(1)


def main() -> None:
    """Print every survivor and the score."""
    asked = _asked()
    places = [SOURCE / place for place in asked.place]
    files = sorted(f for p in places for f in ([p] if p.is_file() else p.rglob("*.py")))
    every = [m for f in files for m in mutants(f)]
    if asked.sample and asked.sample < len(every):
        every = sorted(random.Random(asked.seed).sample(every, asked.sample), key=lambda m: (m.path, m.line))
    load_libraries()
    times: dict[tuple[Path, ...], float] = {}
    killed = tried = 0
    try:
        for mutant in every:
            stages = mirroring(mutant.path)[: 1 if asked.near else 2]
            for stage in stages:
                if tuple(stage) not in times:
                    start = time.monotonic()
                    if not survives(None, stage, 3600.0):
                        sys.exit(f"the tests fail without a fault: {', '.join(map(str, stage))}")
                    times[tuple(stage)] = time.monotonic() - start
                if not survives(mutant, stage, 20 + 5 * times[tuple(stage)]):
                    killed += 1
                    break
            else:
                print(f"survives: {mutant.path.relative_to(SOURCE)}:{mutant.line} {mutant.fault}", flush=True)
            tried += 1
    except KeyboardInterrupt:
        print("interrupted")
    if tried:
        print(f"{killed} of {tried} faults killed ({killed / tried:.1%}), of {len(every)} drawn")


if __name__ == "__main__":
    main()
