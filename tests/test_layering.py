"""The house rules of the source tree: what may import what, and how long things may get.

Read with `ast`, so that imports inside functions count and nothing is executed.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "src" / "rankone"
# In this order: a room imports only from itself and from rooms before it.
ROOMS = (
    "core",
    "recipes",
    "runtime",
    "render",
    "sharing",
    "text",
    "metrics",
    "models",
    "subject",
    "parts",
    "decomposition",
    "workspace",
    "harvest",
    "clustering",
    "labels",
    "opening",
    "edits",
    "circuits",
    "answers",
    "experiments",
    "show",
    "doctor",
    "integrations",
    "verbs",
    "session",
    "studio",
    "cli",
)
# rankone/__init__.py and __main__.py stand at the door: they may import what they like, nothing imports them.
DOOR = ("__init__", "__main__")
UNSAFE_MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_NAMES = {"torch.load", "torch.save"}
# The one file that may open a pickle somebody else wrote, and only with weights_only=True.
FOREIGN = Path("decomposition/importers/foreign.py")
# The command line's results, the one reporter, tables for both, and what the studio says of where it listens.
PRINTING = tuple(map(Path, ("cli/output.py", "runtime/progress.py", "render/terminal.py", "studio/serve.py")))
MAX_FILE_LINES = 500
# Made from the table of verbs, a method each: nobody reads it from top to bottom.
GENERATED = (Path("session/methods.py"),)
MAX_FUNCTION_LINES = 60
# Files and sub-rooms of one folder, without its __init__.py.
MAX_FLOOR = 15


# Every rule reads every file: a tree is made once, and dropped when all rules are read.
parsed = cache(ast.parse)


@pytest.fixture(scope="module", autouse=True)
def _dropped():
    yield
    parsed.cache_clear()


def level(name: str) -> int:
    """How high a top-level name of the package stands; it may import what is lower, or itself."""
    return len(ROOMS) if name in DOOR else ROOMS.index(name)


def sources() -> list[Path]:
    """The package's own files; a packaged checkpoint's copy of its modelling code is data."""
    return sorted(f for f in ROOT.rglob("*.py") if "assets" not in f.relative_to(ROOT).parts)


def place(path: Path) -> str:
    """The room that a path relative to src/rankone belongs to."""
    return path.parts[0].removesuffix(".py")


def imports(tree: ast.AST, path: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of everything imported; `from a import b` gives a.b, relative imports are resolved."""
    package = ["rankone", *path.parts[:-1]]
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = [*base, *([node.module] if node.module else [])]
            found += [(node.lineno, ".".join([*start, alias.name])) for alias in node.names]
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"} and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                found.append((node.lineno, argument.value))
    return found


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def import_problems(source: str, path: Path) -> list[str]:
    """Every import that the order of the rooms, or the ban on pickle and tests, forbids."""
    problems = []
    for line, name in imports(parsed(source), path):
        reason = _refusal(place(path), name)
        if reason:
            problems.append(f"src/rankone/{path}:{line} imports {name}: {reason}")
    return problems


def _refusal(own: str, name: str) -> str | None:
    top, _, rest = name.partition(".")
    if top in UNSAFE_MODULES or name in UNSAFE_NAMES:
        return "nothing is pickled or unpickled; use safetensors, Parquet or JSON"
    if top in {"tests", "conftest"}:
        return "the library does not import its tests"
    if top != "rankone" or not rest:
        return None
    other = rest.partition(".")[0]
    if other not in ROOMS + DOOR:
        return f"'{other}' has no place in the order; add it to ROOMS in {Path(__file__).name}"
    if other == own:
        return None
    if other == "cli" and own not in DOOR:
        return "nothing imports the command line"
    if level(other) > level(own) or other in DOOR:
        return f"'{own}' may import only rooms before it ({', '.join(ROOMS)})"
    return None


def unsafe_calls(source: str, path: Path) -> list[str]:
    """Uses of torch.load and torch.save, and NumPy arrays read or written with pickle allowed."""
    problems = []
    tree = parsed(source)
    allowed = [node.func for node in ast.walk(tree) if path == FOREIGN and _loads_only_tensors(node)]
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr
            in ("load", "save")  # the names at their ends: unparsing all attributes takes seconds
            and ast.unparse(node) in UNSAFE_NAMES
            and node not in allowed
        ):
            problems.append(f"src/rankone/{path}:{node.lineno} uses {ast.unparse(node)}")
        if (
            isinstance(node, ast.keyword)
            and node.arg == "allow_pickle"
            and ast.unparse(node.value) != "False"
        ):
            problems.append(f"src/rankone/{path}:{node.lineno} uses {ast.unparse(node)}")
    return problems


def printing(source: str, path: Path) -> list[str]:
    """Calls of a console's `print`, where the library should give what is to be shown, or report progress."""
    return [
        f"src/rankone/{path}:{node.lineno} prints: give the lines back, or use `log` and `meter`"
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.Call) and _called(node) == "print" and path not in PRINTING
    ]


def _loads_only_tensors(node: ast.AST) -> bool:
    """Whether a node is `torch.load(..., weights_only=True)`, the keyword written out."""
    if not isinstance(node, ast.Call) or _called(node) != "load" or ast.unparse(node.func) != "torch.load":
        return False
    return any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)


def length_problems(source: str, path: Path) -> list[str]:
    """A file or functions over the limits."""
    count = len(source.splitlines())
    problems = [f"src/rankone/{path} has {count} lines (at most {MAX_FILE_LINES})"] * (
        count > MAX_FILE_LINES and path not in GENERATED
    )
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                problems.append(
                    f"src/rankone/{path}:{node.lineno} {node.name} has {length} lines "
                    f"(at most {MAX_FUNCTION_LINES})"
                )
    return problems


def module_name(path: Path) -> str:
    """Dotted name, without `rankone.`, of a path relative to src/rankone; a package is its folder."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def file_graph(files: dict[Path, str]) -> dict[str, set[str]]:
    """Module → modules of the package that it imports, anywhere in the file; paths are relative to src/rankone."""
    names = {module_name(path) for path in files}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for path, source in files.items():
        own = module_name(path)
        for _, name in imports(parsed(source), path):
            inside = name.removeprefix("rankone.") if name.startswith("rankone.") else ""
            while inside and inside not in names:
                inside = inside.rpartition(".")[0]
            if inside and inside != own:
                graph[own].add(inside)
    return graph


def folder_graph(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Sub-room → sub-rooms of the same room that it imports. What lies on a room's ground floor joins them: not counted."""
    folders: dict[str, set[str]] = {}
    for own, others in graph.items():
        home = own.rpartition(".")[0]
        if "." not in home:
            continue
        for other in others:
            away = other.rpartition(".")[0]
            if "." in away and away != home and away.split(".")[0] == home.split(".")[0]:
                folders.setdefault(home, set()).add(away)
    return folders


def circles(graph: dict[str, set[str]]) -> list[str]:
    """One line for each circle of imports: `a → b → a`."""
    left = {name: set(others) & graph.keys() for name, others in graph.items()}
    while free := [name for name, others in left.items() if not others]:
        left = {name: others - set(free) for name, others in left.items() if name not in free}
    found = []
    while left:
        walk = [min(left)]
        while (step := min(left[walk[-1]])) not in walk:
            walk.append(step)
        circle = walk[walk.index(step) :]
        found.append(" → ".join([*circle, step]))
        left = {name: others - set(circle) for name, others in left.items() if name not in circle}
        while free := [name for name, others in left.items() if not others]:
            left = {name: others - set(free) for name, others in left.items() if name not in free}
    return found


@cache
def whole_graph() -> dict[str, set[str]]:
    """The imports of the whole package, file by file."""
    return file_graph({f.relative_to(ROOT): f.read_text("utf8") for f in sources()})


def over_the_tree(check) -> list[str]:
    """What `check` finds in all files of the package."""
    files = sources()
    assert len(files) > 20, f"found only {len(files)} files under {ROOT}"
    return [problem for file in files for problem in check(file.read_text("utf8"), file.relative_to(ROOT))]


def test_every_file_has_a_place():
    known = {*ROOMS, *DOOR}
    lost = sorted({place(f.relative_to(ROOT)) for f in sources()} - known)
    assert not lost, f"not in the order of the house (ROOMS in this file): {lost}"


def test_imports_go_one_way():
    assert over_the_tree(import_problems) == []


def test_no_circle_of_files():
    assert circles(whole_graph()) == []


def test_no_circle_of_subrooms():
    assert circles(folder_graph(whole_graph())) == []


def test_no_floor_is_crowded():
    floors: dict[Path, set[str]] = {}
    for file in sources():
        if file.name != "__init__.py":
            floors.setdefault(file.parent, set()).add(file.name)
    crowded = {
        str(floor.relative_to(ROOT)): len(files) for floor, files in floors.items() if len(files) > MAX_FLOOR
    }
    assert crowded == {}, f"more than {MAX_FLOOR} files on one floor: their ideas want rooms of their own"


def test_nothing_is_unpickled():
    assert over_the_tree(unsafe_calls) == []


def test_no_library_code_prints():
    assert over_the_tree(printing) == []
    assert len(printing("console.print(x)\nprint(x)", Path("show/a.py"))) == 2


def test_files_and_functions_are_short():
    assert over_the_tree(length_problems) == []


@pytest.mark.parametrize(
    ("file", "source", "named"),
    [
        ("text/a.py", "from rankone.models.sites import Site", "rankone.models.sites.Site"),
        ("text/a.py", "def f():\n    import rankone.edits.lowrank", "rankone.edits.lowrank"),
        ("text/a.py", "from rankone import experiments", "rankone.experiments"),
        ("text/a.py", "from ..models import sites", "rankone.models.sites"),
        ("text/deep/a.py", "from ...edits.lowrank import X", "rankone.edits.lowrank.X"),
        (
            "edits/a.py",
            "import importlib\nimportlib.import_module('rankone.experiments')",
            "rankone.experiments",
        ),
        ("experiments/a.py", "from rankone.cli import app", "nothing imports the command line"),
        ("cli/a.py", "import rankone.__main__", "rankone.__main__"),
        ("core/a.py", "from rankone.text.blocks import Blocks", "rankone.text.blocks"),
        ("edits/a.py", "from tests.helpers import probe", "does not import its tests"),
        ("edits/a.py", "import pickle", "pickle"),
        ("edits/a.py", "from torch import load", "torch.load"),
        ("edits/a.py", "import rankone.helpers", "'helpers' has no place"),
    ],
)
def test_wrong_imports_are_named(file, source, named):
    (problem,) = import_problems(source, Path(file))
    assert problem.startswith(f"src/rankone/{file}:")
    assert named in problem


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "edits/a.py",
            "from rankone.decomposition.model import Decomposition\nfrom rankone.core.errors import x",
        ),
        ("edits/a.py", "from . import lowrank\nfrom .methods.lora import LoRA\nfrom ..text import blocks"),
        ("runtime/checkpoint.py", "from rankone.core.artifact import new_artifact"),
        ("__main__.py", "from rankone.cli import main"),
        ("cli.py", "from rankone.experiments.report.page import write_report\nimport torch"),
    ],
)
def test_right_imports_pass(file, source):
    assert import_problems(source, Path(file)) == []


def test_unsafe_calls_are_found():
    bad = "torch.load(p)\ntorch.save(x, p)\nnp.load(p, allow_pickle=True)\nnp.load(p, allow_pickle=False)\n"
    assert [p.split(" ", 1)[0] for p in unsafe_calls(bad, Path("a.py"))] == [
        f"src/rankone/a.py:{line}" for line in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("source", "problems"),
    [
        ("torch.load(p, weights_only=True)", 0),
        ("torch.load(p)", 1),
        ("torch.load(p, weights_only=False)", 1),
        ("torch.load(p, weights_only=wanted)", 1),
        ("torch.load(p, **options)", 1),
        ("load = torch.load", 1),
        ("torch.save(x, p)", 1),
    ],
)
def test_only_the_importer_opens_pickles_and_only_for_tensors(source, problems):
    assert len(unsafe_calls(source, FOREIGN)) == problems
    assert len(unsafe_calls(source, Path("decomposition/importers/keys.py"))) == 1


def test_long_files_and_functions_are_found():
    body = "    x = 1\n"
    assert length_problems("def f():\n" + body * 59, Path("a.py")) == []
    (long,) = length_problems("def f():\n" + body * 60, Path("a.py"))
    assert "f has 61 lines" in long
    assert "501 lines" in length_problems("x = 1\n" * 501, Path("a.py"))[0]


def test_circles_are_found():
    files = {
        Path("text/a.py"): "from rankone.text.b import x",
        Path("text/b.py"): "def f():\n    from rankone.text.deep import c",
        Path("text/deep/__init__.py"): "",
        Path("text/deep/c.py"): "from rankone.text import a",
        Path("text/deep/d.py"): "from rankone.text.wide.e import y",
        Path("text/wide/e.py"): "from rankone.text.deep.f import z",
        Path("text/deep/f.py"): "",
    }
    graph = file_graph(files)
    assert circles(graph) == ["text.a → text.b → text.deep.c → text.a"]
    assert circles(folder_graph(graph)) == ["text.deep → text.wide → text.deep"]
