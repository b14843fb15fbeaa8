"""The shape of the source, enforced: who may import whom, what is heavy, how long things are, and what is never done."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "palpate"
FILES = sorted(SRC.rglob("*.py"))
IDS = [f.relative_to(SRC).as_posix() for f in FILES]

LAYERS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli",),
    ("pipeline",),
    ("serve",),
    ("results",),
    ("catalogue", "studies"),
    ("stages", "report"),
    ("study",),
    ("study_file", "perturbation_sets", "settings"),
    ("task",),
    ("imports", "conditions", "inspection"),
    ("store", "executors", "files"),
    ("registry",),
    ("cases", "perturbations", "models", "readings", "measures"),
    ("prompts",),
    ("parts", "stats", "questions"),
    ("nouns", "errors", "spending", "thresholds", "extras"),
    ("descriptions",),
    ("rung",),
)
"""Highest first. What is on one line never imports one another; all else only downward."""
RANK = {unit: rank for rank, line in enumerate(LAYERS) for unit in line}
PART_FOLDERS = {"cases", "perturbations", "models", "readings", "measures"}
FOR_PARTS = {"rung", "descriptions", "nouns", "parts", "errors", "stats", "prompts"}
NAMED_BY_STRING = {"tasks"}  # data: read through importlib.resources

HEAVY = {"torch", "transformers", "plotly", "pyarrow", "pandas", "sklearn", "statsmodels", "scipy", "accelerate", "datasets", "ray"}
HEAVY_ALLOWED = {"report/figures.py": {"plotly"}}

tree = {f: ast.parse(f.read_text(encoding="utf-8")) for f in FILES}


def unit(file: Path) -> str:
    """The file's place in the layers: its folder, or its own name at the top."""
    return file.relative_to(SRC).parts[0].removesuffix(".py")


def imports(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Every module imported anywhere below, as a dotted name; ``from a import b`` gives a.b."""
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            yield from ((alias.name, found) for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            assert found.level == 0, f"line {found.lineno}: a relative import"
            yield from ((f"{found.module}.{alias.name}", found) for alias in found.names)


def type_checking(module: ast.Module) -> set[ast.AST]:
    """Everything below ``if TYPE_CHECKING:``."""
    blocks = (
        n for n in ast.walk(module) if isinstance(n, ast.If) and isinstance(n.test, ast.Name) and n.test.id == "TYPE_CHECKING"
    )
    return {inner for block in blocks for inner in ast.walk(block)}


def at_import(module: ast.Module) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: everything outside functions."""
    waiting: list[ast.AST] = [module]
    while waiting:
        node = waiting.pop()
        yield node
        inner = (n for n in ast.iter_child_nodes(node) if not isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))
        waiting.extend(inner)


def functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(module) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


# ---------------------------------------------------------------- who may import whom


def test_every_file_has_its_place() -> None:
    assert {unit(f) for f in FILES} - {"__init__"} - NAMED_BY_STRING <= set(RANK)
    named = {d.name for d in SRC.iterdir() if d.is_dir() and d.name != "__pycache__"} | {f.stem for f in SRC.glob("*.py")}
    assert set(RANK) <= named, "a layer that is not there"


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_imports_go_downward(file: Path) -> None:
    own = unit(file)
    if own == "__init__":  # loads what it names when it is first used: see the test of the public names
        return
    exempt = type_checking(tree[file]) if own == "cli" else set()
    for name, node in imports(tree[file]):
        package, _, rest = name.partition(".")
        if package != "palpate" or node in exempt:
            continue
        other = rest.split(".")[0]
        if other in (own, "__version__"):
            continue
        assert other in RANK, f"{name}: no such layer"
        assert RANK[own] < RANK[other], f"{own} must not import {name}: only what is below it"
        if own in PART_FOLDERS:
            assert other in FOR_PARTS, f"a part must not import {name}"


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_what_is_private_stays_in_its_folder(file: Path) -> None:
    for name, _ in imports(tree[file]):
        steps = name.split(".")
        if steps[0] == "palpate" and any(s.startswith("_") and not s.startswith("__") for s in steps[1:]):
            private = next(i for i, s in enumerate(steps) if i and s.startswith("_"))
            home = SRC.joinpath(*steps[1:private])
            assert file.is_relative_to(home), f"{name} is private to {home.name}/"


@pytest.mark.parametrize("folder", sorted(PART_FOLDERS))
def test_parts_do_not_know_one_another(folder: str) -> None:
    """Two public files of a part folder meet only through its private files; a kind may build on another kind's private files."""
    for file in (SRC / folder).glob("[!_]*.py"):
        for name, _ in imports(tree[file]):
            steps = name.split(".")
            if steps[:2] == ["palpate", folder] and len(steps) > 2:
                assert steps[2].startswith("_"), f"{file.name} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_nothing_heavy_is_loaded_on_import(file: Path) -> None:
    """A heavy library is imported where it is used, or in a private file that is itself imported where it is used."""
    where = file.relative_to(SRC).as_posix()
    private = any(step.startswith("_") and step != "__init__.py" for step in file.relative_to(SRC).parts)
    allowed = HEAVY if private else HEAVY_ALLOWED.get(where, set())
    exempt = type_checking(tree[file])
    for node in at_import(tree[file]):
        if node in exempt or not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for name, _ in imports(node):
            top = name.split(".")[0]
            assert top not in HEAVY - allowed, f"line {node.lineno}: {name}"
            assert top != "sklearn", "scikit-learn is for tests"


LIGHT = """
import json, sys
before = set(sys.modules)
{code}
print(json.dumps(sorted({{m.split(".")[0] for m in set(sys.modules) - before}})))
"""
TOO_MUCH = HEAVY | {"numpy", "pydantic", "PIL", "rich", "jinja2", "sqlite3"}


HELP = "import palpate.cli as c; from click.testing import CliRunner; assert CliRunner().invoke(c.main, ['--help']).exit_code == 0"


@pytest.mark.parametrize("code", ["import palpate", "import palpate.cli", "import palpate; palpate.PalpateError", HELP])
def test_importing_the_package_and_asking_for_help_are_light(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT.format(code=code)], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert loaded & TOO_MUCH == set()
    assert done.stderr == ""


# ---------------------------------------------------------------- what is never done


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_nothing_is_printed(file: Path) -> None:
    for node in ast.walk(tree[file]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "breakpoint", "eval", "exec", "input"), f"line {node.lineno}"


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_no_fault_is_swallowed(file: Path) -> None:
    for node in (n for n in ast.walk(tree[file]) if isinstance(n, ast.ExceptHandler)):
        caught = [n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)] if node.type else ["everything"]
        raised_again = any(isinstance(n, ast.Raise) for n in ast.walk(node))
        blind = {"everything", "Exception", "BaseException"} & set(caught)
        assert not blind or raised_again, f"line {node.lineno}: {caught}"


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_nothing_is_left_to_do(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", text)


@pytest.mark.parametrize("file", [f for f in FILES if f.name != "migrations.py"], ids=lambda f: f.relative_to(SRC).as_posix())
def test_the_ledger_is_never_rewritten(file: Path) -> None:
    """Only a change of schema may add to rows that are there: tests/unit/store/test_migrations.py."""
    for node in (n for n in ast.walk(tree[file]) if isinstance(n, ast.Constant) and isinstance(n.value, str)):
        assert not re.search(r"\b(UPDATE\s+\w+\s+SET|DELETE\s+FROM|REPLACE\s+INTO|DROP\s+TABLE|ALTER\s+TABLE)\b", node.value), (
            node.lineno
        )


# ---------------------------------------------------------------- how long, and said in words


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_files_and_functions_fit_the_eye(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 450
    for function in functions(tree[file]):
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < 70, function.name


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_what_is_public_is_described(file: Path) -> None:
    assert ast.get_docstring(tree[file])
    for node in tree[file].body:
        public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        assert not public or ast.get_docstring(node), node.name  # type: ignore[arg-type, union-attr]
        if isinstance(node, ast.ClassDef) and public:
            for method in (n for n in node.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")):
                assert ast.get_docstring(method), f"{node.name}.{method.name}"


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_names_say_what_is_in_a_file(file: Path) -> None:
    assert not {"utils", "helpers", "helper", "types", "manager", "misc", "common"} & {
        p.strip("_") for p in [*file.parts[-2:-1], file.stem]
    }


def test_the_tests_have_as_many_lines_as_the_source() -> None:
    def lines(folder: Path) -> int:
        return sum(len(f.read_text(encoding="utf-8").splitlines()) for f in folder.rglob("*.py"))

    assert lines(Path(__file__).parent) >= lines(SRC)
