"""The law of the house (DESIGN §2), read off the source: who may import whom and do what."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "rustvid").rglob("*.py"))

# A module may import only from the lines above its own, and from its own package.
LAYERS = (
    {"redact", "chatter"},
    {"errors"},
    {"config", "files", "frames", "presets", "threads"},
    {"motion", "budget", "outlines"},
    {"video", "method", "sampling", "tracking", "render", "report", "workers"},
    {"journal", "limits", "memory"},
    {"preflight"},
    {"resume"},
    {"outputs"},
    {"pipeline"},
    {"live"},
    {"training", "batch", "demo", "progress", "review"},
    {"bench"},
    {"cli"},
    {"__main__"},
)
HEAVY = {"numpy", "av", "cv2", "tensorflow", "keras", "sklearn", "scipy", "rich"}
# Who may name what, as in pyproject's per-file-ignores.
OWNERS = {
    "av": ("video/*", "training/*", "bench/*", "demo.py"),
    "keras": (
        "method/network.py",
        "method/efficientnet.py",
        "method/student.py",
        "method/framework.py",
        "method/localise.py",
        "training/*",
        "bench/contestants.py",
    ),
    "tensorflow": ("training/*", "method/conversion.py"),
    "ai_edge_litert": ("method/litert.py",),
    "pydensecrf": ("method/refine/crf.py",),
    "sklearn": ("method/refine/kmeans.py", "training/*"),
    "multiprocessing": ("workers.py",),
    "concurrent": ("workers.py",),
    "subprocess": ("live/deliver.py", "bench/rounds.py", "method/compiler.py"),
    "prometheus_client": ("live/metrics.py",),
    "ctypes": ("redact.py",),
    "rich": ("progress.py", "report/tables.py", "training/tables.py"),
    "argparse": ("cli.py", "training/*", "bench/arguments.py", "bench/command.py"),
    "yaml": ("config.py",),
    "csv": ("report/csv.py", "report/readings.py", "training/*"),
}
# Who loads the heavy only where it is needed: it is seconds of waiting, and most of the memory.
LATE = {"cli.py", "method/model.py", "method/refine/kmeans.py", "bench/contestants.py"}
LONGEST = 300  # lines of code; a rough measure, see DESIGN §5
LONGER = {"workers.py", "demo.py", "config.py", "cli.py"}  # pages that read better whole


def name_of(path: Path) -> str:
    return path.relative_to(ROOT / "rustvid").as_posix()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
MODULES = {module_of(path) for path in FILES}
every_file = pytest.mark.parametrize("path", FILES, ids=name_of)


def imports(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """Every module that is imported anywhere in a file, and the statement that does it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in MODULES else str(node.module)), node


def ours(path: Path) -> set[str]:
    """The project's own modules that a file imports."""
    return {name for name, _ in imports(TREES[path]) if name.split(".")[0] == "rustvid"}


def part(module: str) -> str:
    """rustvid.method.refine.crf → method"""
    return module.split(".")[1]


def layer(module: str) -> int:
    for height, names in enumerate(LAYERS):
        if part(module) in names:
            return height
    raise AssertionError(f"{module} has no place in the house: give it one in LAYERS and DESIGN §2")


# --- who may import whom


@every_file
def test_imports_point_one_way(path: Path) -> None:
    module = module_of(path)
    if module == "rustvid":
        return
    for other in ours(path) - {"rustvid"}:
        same_package = part(other) == part(module)
        assert same_package or layer(other) < layer(module), f"{module} imports {other}"


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {module_of(path): ours(path) - {"rustvid"} for path in FILES}
    del graph["rustvid"]
    assert set(TopologicalSorter(graph).static_order()) >= set(graph)  # raises at a cycle


def test_the_package_itself_imports_nothing_of_its_own_until_asked() -> None:
    tree = TREES[ROOT / "rustvid" / "__init__.py"]
    only_for_types = {
        id(node)
        for guard in tree.body
        if isinstance(guard, ast.If) and ast.unparse(guard.test) == "TYPE_CHECKING"
        for node in ast.walk(guard)
    }
    eager = [name for name, node in imports(tree) if id(node) not in only_for_types]
    assert not [name for name in eager if name.startswith("rustvid")]


def test_workers_know_no_word_of_the_domain() -> None:
    assert ours(ROOT / "rustvid" / "workers.py") == {"rustvid.errors"}


@every_file
def test_a_library_is_named_only_where_it_is_needed(path: Path) -> None:
    for name, node in imports(TREES[path]):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or any(fnmatch(name_of(path), owner) for owner in owners), (
            f"{name_of(path)}:{node.lineno} imports {name}"
        )


# --- who may do what


@every_file
def test_only_who_must_not_load_the_heavy_imports_inside_functions(path: Path) -> None:
    if name_of(path) in LATE:
        return
    for function in ast.walk(TREES[path]):
        if isinstance(function, ast.FunctionDef):
            assert not list(imports(function)), f"{name_of(path)}: {function.name}"


@every_file
def test_only_the_command_line_prints(path: Path) -> None:
    if name_of(path) == "cli.py":
        return
    for call in (n for n in ast.walk(TREES[path]) if isinstance(n, ast.Call)):
        if ast.unparse(call.func) == "print":
            to_stderr = any(ast.unparse(k.value) == "sys.stderr" for k in call.keywords)
            assert name_of(path) == "progress.py", f"{name_of(path)}:{call.lineno} prints"
            assert to_stderr, f"{name_of(path)}:{call.lineno} prints on stdout"


@every_file
def test_nothing_happens_at_import(path: Path) -> None:
    """At the top there are imports, definitions, constants and the two guards; no effects."""
    forbidden = (
        "open",
        "print",
        "os.environ",
        "os.putenv",
        "subprocess",
        "logging",
        "warnings",
        "sys.path",
        "signal",
        "exec",
        "resources.files",
    )
    methods = {"read_text", "write_text", "read_bytes", "write_bytes", "mkdir", "open", "update"}
    for statement in TREES[path].body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
            continue
        where = f"{name_of(path)}:{statement.lineno}: {ast.unparse(statement)}"
        if isinstance(statement, ast.If):
            test = ast.unparse(statement.test)
            assert test == "TYPE_CHECKING" or test.startswith(("__name__", "sys.")), where
            continue
        if isinstance(statement, ast.Expr):
            assert isinstance(statement.value, ast.Constant), where
            continue
        assert isinstance(statement, (ast.Assign, ast.AnnAssign)), where
        for call in (n for n in ast.walk(statement) if isinstance(n, ast.Call)):
            called = ast.unparse(call.func)
            assert not called.startswith(forbidden), where
            assert called.rpartition(".")[2] not in methods, where


@every_file
def test_no_error_is_swallowed_in_silence(path: Path) -> None:
    for handler in (n for n in ast.walk(TREES[path]) if isinstance(n, ast.ExceptHandler)):
        where = f"{name_of(path)}:{handler.lineno}"
        assert handler.type is not None, f"{where}: bare except"
        if ast.unparse(handler.type) == "StopIteration":
            continue  # an end, not an error
        only_pass = len(handler.body) == 1 and isinstance(handler.body[0], ast.Pass)
        assert not only_pass, f"{where}: except … pass; contextlib.suppress says what and why"


@every_file
def test_a_module_is_a_page_or_two(path: Path) -> None:
    docstrings = {
        line
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = path.read_text(encoding="utf-8").splitlines()
    code = [
        number
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#") and number not in docstrings
    ]
    assert (len(code) > LONGEST) == (name_of(path) in LONGER), f"{len(code)} lines of code"


# --- what a user pays for asking


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["--version"], ["config"], []], ids=" ".join
)
def test_asking_for_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from rustvid.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout
    loaded = set(told.stderr.split())
    assert "rustvid.cli" in loaded
    assert not loaded & HEAVY
