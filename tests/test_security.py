"""What docs/threat-model.md claims of the whole source, read off the source; and that every test it names is there.

What a defence does is tested where the defence is; here is what must never be written at all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "palpate"
TREES = {p.relative_to(SOURCE).as_posix(): ast.parse(p.read_text(encoding="utf-8")) for p in sorted(SOURCE.rglob("*.py"))}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """(file, what is called as written, the call)."""
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield file, ast.unparse(node.func), node


def imports() -> Iterator[tuple[str, str]]:
    """(file, ``module`` or ``module.name``) of every import anywhere in it."""
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((file, f"{node.module}.{alias.name}") for alias in node.names)


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)


def test_nothing_is_unpickled() -> None:
    runs_what_it_reads = {
        "pickle",
        "cPickle",
        "_pickle",
        "marshal",
        "shelve",
        "dill",
        "joblib",
        "cloudpickle",
        "yaml",
        "jsonpickle",
    }
    found = {(f, name) for f, name in imports() if name.split(".")[0] in runs_what_it_reads}
    # Only to catch it; and what a process and the one it started say to each other, over a pair of sockets nobody else has.
    caught = {("models/_hf_load.py", "pickle.UnpicklingError"), ("executors/_processes.py", "pickle.PickleError")}
    assert found == {*caught, ("models/_hf_apart.py", "pickle")}
    assert not [(f, name) for f, name, _ in calls() if name in ("torch.load", "np.fromfile") or name.endswith(".read_pickle")]
    loads = [(f, keyword(call, "allow_pickle")) for f, name, call in calls() if name in ("np.load", "numpy.load")]
    assert len(loads) >= 3
    assert {allowed for _, allowed in loads} == {"False"}


def test_weights_are_safetensors_and_a_checkpoints_code_is_off() -> None:
    assert sum(isinstance(n, ast.Name) and n.id == "use_safetensors" for t in TREES.values() for n in ast.walk(t)) == 0
    made = [
        (name, keyword(call, "trust_remote_code"), [ast.unparse(k.value) for k in call.keywords if k.arg is None])
        for file, name, call in calls()
        if file.startswith("models/_hf") and name.split(".")[-1] in ("from_pretrained", "from_config")
    ]
    assert len(made) >= 6
    for name, trusted, unpacked in made:
        off = trusted in ("settings.trust_remote_code", "False")
        assert off or "common" in unpacked or name.startswith("GenerationConfig"), name
    (weights,) = [call for _, name, call in calls() if name == "auto.from_pretrained"]
    assert keyword(weights, "use_safetensors") == "None if settings.pickled_weights else True"
    assert keyword(weights, "weights_only") == "True"


def test_nothing_runs_another_program_or_evaluates_text() -> None:
    forbidden = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.startfile", "pty.spawn"}
    assert not [(f, name) for f, name, _ in calls() if name in forbidden]
    assert {f for f, name in imports() if name.split(".")[0] == "subprocess"} == {"models/_hf_apart.py"}
    started = [call for _, name, call in calls() if name.startswith("subprocess.")]
    assert [ast.unparse(call.args[0]) for call in started] == ["command"]
    apart = (SOURCE / "models/_hf_apart.py").read_text(encoding="utf-8")
    assert 'command, no = [sys.executable, "-m", __name__, ' in apart  # itself, and nothing a study names
    for file, name, call in calls():
        # All but the parts that are installed, and the one function that a study may name where its user allows code.
        if name.endswith("import_module") and file not in ("registry.py", "cases/_grouping.py"):
            given = ast.unparse(call.args[0])
            assert isinstance(call.args[0], ast.Constant) or given.startswith(("f'palpate.", "f'{__name__}.")), (file, given)


def test_archives_are_read_never_unpacked_to_disk() -> None:
    assert not [(f, name) for f, name, _ in calls() if name.split(".")[-1] in ("extractall", "extract", "unpack_archive")]
    assert not [(f, name) for f, name in imports() if name.split(".")[0] in ("tarfile", "lzma", "bz2")]
    opened = {f for f, name, _ in calls() if name == "zipfile.ZipFile"}
    assert opened <= {"imports/unpacking.py", "cases/medmnist.py"}
    unbounded = [f for f, name, _ in calls() if name in ("zlib.decompress", "gzip.decompress", "gzip.open")]
    assert unbounded == []


def test_no_xml_is_parsed_by_our_own_hand_and_templates_escape() -> None:
    assert not [(f, n) for f, n, _ in calls() if n.split(".")[-1] in ("fromstring", "iterparse", "XMLParser") and "ET" in n]
    makers = [(f, keyword(call, "autoescape")) for f, name, call in calls() if name.split(".")[-1] == "Environment"]
    assert makers
    assert all(escape is not None and escape != "False" for _, escape in makers), makers


def test_the_environment_is_read_in_known_places() -> None:
    reading = re.compile(r"os\.environ\b|os\.getenv\b")
    found = {file for file in TREES if reading.search((SOURCE / file).read_text(encoding="utf-8"))}
    secret = {"models/_api_settings.py", "cases/_listing.py"}  # keys and headers; the salt
    harmless = {"parts.py", "executors/_processes.py", "models/_hf_load.py", "executors/_ray_worker.py", "executors/ray_pool.py"}
    harmless |= {"serve/browser.py"}  # whether there is a display
    harmless |= {"models/_hf_ahead.py", "models/_hf_apart.py"}  # how many workers share the cores; what a process of ours inherits
    assert secret <= found
    assert found - secret <= harmless, found - secret - harmless


PAGE = ROOT / "docs" / "threat-model.md"


def named() -> list[tuple[str, str]]:
    """Every test the page names: `file.py` `test_name`, or `file.py` alone."""
    return re.findall(r"`((?:\w+/)*test_\w+\.py)`(?: `(test_\w+)`)?", PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("file", "test"), named())
def test_the_tests_it_names_are_there(file: str, test: str) -> None:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    functions = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")}
    assert functions
    assert not test or test in functions


def test_it_names_many() -> None:
    assert len(set(named())) >= 25
